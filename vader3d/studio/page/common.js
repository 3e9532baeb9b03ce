// What all parts of the page use. Texts of others go in as text, never as markup.

export const $ = (id) => document.getElementById(id);

export class Unwelcome extends Error {}

export async function ask(method, path, value, headers = {}) {
  const options = { method, headers: { ...headers } };
  if (value !== undefined) {
    options.body = JSON.stringify(value);
    options.headers["Content-Type"] = "application/json";
  }
  const answer = await fetch(path, options);
  if (answer.status === 401) throw new Unwelcome();
  if (answer.status === 204) return null;
  const said = await answer.json();
  if (!answer.ok) throw new Error(said.detail);
  return said;
}

export function element(kind, values = {}, ...inside) {
  const made = document.createElement(kind);
  for (const [name, value] of Object.entries(values)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...inside);
  return made;
}

export function tell(place, error) {
  $(place).textContent = error ? error.message || String(error) : "";
  if (error instanceof Unwelcome && !$("login").open) $("login").showModal();
}
