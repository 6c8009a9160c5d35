// Reads messages, a line of hexadecimal each, from standard input; writes what they say as JSON.
import { readFileSync } from "node:fs";
import PostalMime from "postal-mime";

const lines = readFileSync(0, "utf8").split("\n").filter(Boolean);
const messages = [];
for (const line of lines) {
  const read = await PostalMime.parse(Buffer.from(line, "hex"), { forceRfc822Attachments: true });
  messages.push({
    subject: read.subject ?? null,
    from: read.from ?? null,
    to: read.to ?? [],
    cc: read.cc ?? [],
    replyTo: read.replyTo ?? [],
    messageId: read.messageId ?? null,
    date: read.date ?? null,
    text: read.text ?? "",
    html: read.html ?? "",
    attachments: read.attachments.map((file) => ({
      filename: file.filename,
      contentId: file.contentId ?? null,
      mimeType: file.mimeType,
      content: Buffer.from(file.content).toString("hex"),
    })),
  });
}
process.stdout.write(JSON.stringify(messages));
