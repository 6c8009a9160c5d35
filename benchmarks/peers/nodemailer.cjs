// nodemailer's pool, without a queue: node nodemailer.cjs CONNECTIONS
const { takeTurns, mail } = require('./turns.cjs');
const { transport } = require('./transport.cjs');

const pool = transport(Number(process.argv[2]));
takeTurns((letters) => Promise.all(letters.map((letter) => pool.sendMail(mail(letter)))));
