/** The images to be classified, and what was said of each. */
import { abandoned, get, getFile, postForm } from "../api.js";

let last = 0;

/** An image that was chosen, dropped, pasted, or is of the corpus. */
export class Chosen {
  #asked = null;

  constructor(file, { name = file.name, item = null } = {}) {
    this.id = ++last;
    this.file = file;
    this.name = name || "pasted image";
    this.item = item;
    this.url = URL.createObjectURL(file);
    this.reply = null;
    this.scored = null;
    this.problem = null;
    this.answered = null;
  }

  /** Whether what is there answers the question with this key. */
  answers(key) {
    return this.answered === key;
  }

  /** Ask the service; an earlier question that is still on its way is given up. */
  async classify(question) {
    this.#asked?.abort();
    const asked = new AbortController();
    this.#asked = asked;
    try {
      const [reply, scored] = await Promise.all([
        postForm("classify", this.#form("image", question.form), asked),
        question.decides ? this.#decisions(asked) : null,
      ]);
      Object.assign(this, { reply, scored, problem: null, answered: question.key });
    } catch (error) {
      if (abandoned(error)) return;
      Object.assign(this, { reply: null, scored: null, problem: error, answered: question.key });
    }
  }

  /** What the calibration says of it; an image that fails is the classification's to tell. */
  async #decisions(asked) {
    const { results } = await postForm("score", this.#form("images"), asked);
    return results[0];
  }

  /** What the corpus holds that looks like it. */
  similar(k) {
    return postForm("search", this.#form("image", { k }));
  }

  #form(field, more = {}) {
    const form = new FormData();
    form.append(field, this.file, this.name);
    for (const [name, value] of Object.entries(more)) form.append(name, String(value));
    return form;
  }

  /** Ask no longer what was not answered yet. */
  giveUp() {
    this.#asked?.abort();
  }

  close() {
    this.giveUp();
    URL.revokeObjectURL(this.url);
  }
}

/** An image of the corpus; its picture as the service shows it, which may be smaller than the file. */
export async function ofCorpus(id) {
  const item = await get(`items/${id}`);
  const file = await getFile(`items/${item.id}/picture`, { size: 1280 });
  return new Chosen(file, { name: item.name, item: item.id });
}
