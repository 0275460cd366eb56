// The same first function in JavaScript: answers over its URL, takes messages from a queue.

const greeting = (name) => `Hello, ${name}, from a warm container!`;

export const handler = async (event, context) => {
  if (event.Records) {
    for (const record of event.Records) {
      console.log(`message ${record.messageId}: ${greeting(record.body)}`);
    }
    return { batchItemFailures: [] };
  }
  const name = event.queryStringParameters?.name ?? event.name ?? "world";
  console.log(`called over HTTP or by invoke, for ${name}`);
  return { message: greeting(name), request_id: context.awsRequestId };
};
