// Questions to the server, with the key where there is one. The key lives as long as the tab.

const KEY = "zoo-key";

export const key = {
  get: () => sessionStorage.getItem(KEY),
  keep: text => sessionStorage.setItem(KEY, text),
  forget: () => sessionStorage.removeItem(KEY),
};

// A refusal: its status, what the server says of it, and in how many seconds to come back.
export class Refused extends Error {
  constructor(status, says, again) {
    super(says);
    this.status = status;
    this.again = again;
  }
}

async function refused(answer) {
  let says = answer.statusText || `status ${answer.status}`;
  try {
    says = (await answer.json()).detail || says;
  } catch { /* a proxy's page, or nothing: the status must do */ }
  return new Refused(answer.status, says, answer.headers.get("retry-after"));
}

export async function request(path, {body, signal} = {}) {
  const headers = {};
  if (key.get()) headers.authorization = `Bearer ${key.get()}`;
  if (body) headers["content-type"] = "application/json";
  const answer = await fetch(path, {
    method: body ? "POST" : "GET", headers, signal, body: body && JSON.stringify(body),
    cache: "no-store", credentials: "omit",
  });
  if (!answer.ok) throw await refused(answer);
  return answer;
}

// the objects of a stream of server-sent events, until [DONE]
export async function* events(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const {done, value} = await reader.read();
    if (done) return;
    const lines = (rest + value).split(/\r?\n/);
    rest = lines.pop();
    for (const line of lines) {
      if (!line.startsWith("data:")) continue;
      const data = line.slice(5).trim();
      if (data === "[DONE]") return;
      const told = JSON.parse(data);
      if (told.error) throw new Refused(told.status || 500, told.detail || told.error.message);
      yield told;
    }
  }
}
