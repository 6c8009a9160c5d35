// What turns.py says, for clients in JavaScript.
const fs = require('node:fs');
const readline = require('node:readline');

exports.smtpPort = Number(process.env.BENCH_SMTP_PORT);
exports.redis = { url: process.env.BENCH_REDIS_URL };

exports.takeTurns = async (send) => {
  const letters = fs.readFileSync(process.env.BENCH_LETTERS, 'utf8').trimEnd().split('\n').map((line) => JSON.parse(line));
  console.log('ready');
  for await (const line of readline.createInterface({ input: process.stdin })) {
    await send(letters.splice(0, Number(line)));
    console.log('done');
  }
  process.exit(0);
};

exports.mail = (letter) => ({
  from: letter.from,
  to: letter.to,
  subject: letter.subject,
  text: letter.text,
  html: letter.html,
  attachments: letter.attachment
    ? [{ filename: 'a.bin', contentType: 'application/octet-stream', content: letter.attachment, encoding: 'base64' }]
    : [],
});
