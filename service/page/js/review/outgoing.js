/** The one box of labels on their way: it goes on sending whichever page is shown. */
import { connection, get, post } from "../api.js";
import { Outbox } from "./outbox.js";

// A label that takes longer is sent again: the service keeps it once.
const PATIENCE = { seconds: 10 };

export const outbox = new Outbox(
  (path, body) => post(path, body, PATIENCE),
  async () => (await get("health", {}, PATIENCE)).corpus,
);

connection.addEventListener("up", () => outbox.reconsider());
