// Azure's checkpoint store for JavaScript: writes the checkpoints that it is given, and says what it finds.
const [packageFolder, connection, container, namespace, work] = process.argv.slice(2);
const { ContainerClient } = require(packageFolder + "/../../@azure/storage-blob");
const { BlobCheckpointStore } = require(packageFolder);

const store = new BlobCheckpointStore(new ContainerClient(connection, container));
const where = [namespace, "orders", "$Default"];

(async () => {
  for (const checkpoint of JSON.parse(work)) await store.updateCheckpoint(checkpoint);
  const found = { checkpoints: await store.listCheckpoints(...where), owned: await store.listOwnership(...where) };
  console.log(JSON.stringify(found));
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
