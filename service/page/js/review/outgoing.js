/** The one box of labels on their way: it goes on sending whichever page is shown. */
import { connection, post } from "../api.js";
import { Outbox } from "./outbox.js";

export const outbox = new Outbox(post);

connection.addEventListener("up", () => outbox.sendNow());
