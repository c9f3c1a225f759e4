// Azure's own client of Event Hubs for JavaScript, moved by lines of JSON: see eventhubs_js.py, which starts it.
// A line in is {"do": command, ...}; the line out is {"done": result} or {"error": {name, code, message}}, in the same order.
"use strict";

const readline = require("node:readline");
const { ContainerClient } = require("@azure/storage-blob");
const { EventHubConsumerClient, EventHubProducerClient, earliestEventPosition, latestEventPosition } = require("@azure/event-hubs");
const { BlobCheckpointStore } = require("@azure/eventhubs-checkpointstore-blob");

const connection = process.env.EVENTHUBS_CONNECTION_STRING;
const once = { retryOptions: { maxRetries: 0, timeoutInMs: 10000 } };
const positions = { earliest: earliestEventPosition, latest: latestEventPosition };
const producers = new Map(); // by hub
const subscriptions = []; // {client, subscription, events, errors, notes, changed}

function producer(hub) {
  if (!producers.has(hub)) producers.set(hub, new EventHubProducerClient(connection, hub, once));
  return producers.get(hub);
}

function outgoing({ body, ...rest }) {
  return { body: Buffer.from(body, "base64"), ...rest };
}

function incoming(event, partition) {
  const { offset, sequenceNumber, partitionKey, properties, systemProperties, contentType, messageId, correlationId } = event;
  const body = Buffer.from(event.body).toString("base64");
  const enqueued = event.enqueuedTimeUtc.getTime();
  return { body, partition, offset, sequenceNumber, enqueued, partitionKey, properties, systemProperties, contentType, messageId, correlationId };
}

function told(error) {
  return { name: error.name, code: error.code ?? null, message: error.message };
}

const commands = {
  hub: ({ hub }) => producer(hub).getEventHubProperties(),

  partition: ({ hub, partition }) => producer(hub).getPartitionProperties(partition),

  // One send; the client makes a batch of the events.
  send: ({ hub, events, ...where }) => producer(hub).sendBatch(events.map(outgoing), where),

  // As many events as fit into a batch, made by hand; says how many did.
  async batch({ hub, events, ...where }) {
    const batch = await producer(hub).createBatch(where);
    const fitted = events.map(outgoing).filter((event) => batch.tryAdd(event)).length;
    if (fitted) await producer(hub).sendBatch(batch);
    return { fitted, maxSizeInBytes: batch.maxSizeInBytes };
  },

  // Reads one partition, or all; with `container` as a processor that checkpoints after each batch if `checkpoint` is true, or as far
  // as the first `checkpoint` events of each partition if it is a number. `endpoint`: connects there, whatever the connection string says.
  subscribe({ hub, group = "$Default", partition, start, storage, container, checkpoint = false, balancing, endpoint, ...options }) {
    const store = container && new BlobCheckpointStore(new ContainerClient(storage, container));
    const settings = { ...once, loadBalancingOptions: balancing, customEndpointAddress: endpoint };
    const client = store
      ? new EventHubConsumerClient(group, connection, hub, store, settings)
      : new EventHubConsumerClient(group, connection, hub, settings);
    const state = { client, events: [], errors: [], notes: [], changed: () => {} };
    const rest = new Map(); // by partition: how many events are still to be checkpointed
    const checkpointed = (events, partition) => {
      if (typeof checkpoint !== "number") return checkpoint ? events : [];
      const left = rest.get(partition) ?? checkpoint;
      rest.set(partition, Math.max(0, left - events.length));
      return events.slice(0, left);
    };
    const handlers = {
      async processEvents(events, context) {
        const metrics = context.lastEnqueuedEventProperties;
        state.events.push(...events.map((event) => incoming(event, context.partitionId)));
        if (metrics && events.length) state.metrics = { ...metrics };
        state.changed();
        const last = checkpointed(events, context.partitionId).at(-1);
        if (last) await context.updateCheckpoint(last);
      },
      async processError(error, context) {
        state.errors.push({ ...told(error), partition: context.partitionId });
        state.changed();
      },
      async processInitialize(context) {
        state.notes.push(["initialize", context.partitionId]);
      },
      async processClose(reason, context) {
        state.notes.push(["close", context.partitionId, reason]);
      },
    };
    const startPosition = typeof start === "string" ? positions[start] : start;
    const asked = { startPosition, skipParsingBodyAsJson: true, maxWaitTimeInSeconds: 1, ...options };
    state.subscription = partition === undefined ? client.subscribe(handlers, asked) : client.subscribe(partition, handlers, asked);
    return subscriptions.push(state) - 1;
  },

  // What has come since the last time, as soon as it is `count` events or an error, or after `seconds`.
  async take({ subscription, count, seconds }) {
    const state = subscriptions[subscription];
    const deadline = Date.now() + seconds * 1000;
    while (state.events.length < count && !state.errors.length && Date.now() < deadline) {
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, deadline - Date.now());
        state.changed = () => (clearTimeout(timer), resolve());
      });
    }
    const taken = { events: state.events, errors: state.errors, notes: state.notes, metrics: state.metrics ?? null };
    state.events = [];
    state.errors = [];
    state.notes = [];
    return taken;
  },

  async close({ subscription }) {
    await subscriptions[subscription].subscription.close();
    await subscriptions[subscription].client.close();
  },
};

async function main() {
  const lines = readline.createInterface({ input: process.stdin });
  lines.on("close", () => process.exit(0)); // whoever moved it is gone
  for await (const line of lines) {
    const { do: name, ...given } = JSON.parse(line);
    let answer;
    try {
      if (!Object.hasOwn(commands, name)) throw new Error(`there is no command ${name}`);
      answer = { done: (await commands[name](given)) ?? null };
    } catch (error) {
      answer = { error: told(error) };
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  }
}

main();
