// nodemailer with so many kept connections, as its documentation has it for bulk mail.
const nodemailer = require('nodemailer');
const { smtpPort } = require('./turns.cjs');

exports.transport = (connections) =>
  nodemailer.createTransport({
    host: '127.0.0.1',
    port: smtpPort,
    ignoreTLS: true,
    pool: true,
    maxConnections: connections,
    maxMessages: Infinity,
  });
