// BullMQ, whose worker sends with nodemailer's pool: node bullmq.cjs client | worker CONCURRENCY
const { Queue, Worker } = require('bullmq');
const { takeTurns, mail, redis } = require('./turns.cjs');
const { transport } = require('./transport.cjs');

const CHUNK = 100;
const [role, concurrency] = process.argv.slice(2);

if (role === 'worker') {
  const pool = transport(Number(concurrency));
  const send = async (job) => { await pool.sendMail(mail(job.data)); };
  new Worker('mail', send, { connection: redis, concurrency: Number(concurrency) }).on('error', console.error);
} else {
  const queue = new Queue('mail', { connection: redis });
  takeTurns(async (letters) => {
    while (letters.length) await queue.addBulk(letters.splice(0, CHUNK).map((data) => ({ name: 'send', data })));
  });
}
