// Unpacks the scripts and runs them. The page's policy allows them by their hashes.
"use strict";

/** Return the bytes of a part of the page, and remove its text, which takes as much memory as all made of it. */
async function unpack(name) {
  const element = document.getElementById(`data-${name}`);
  const text = element.textContent;
  element.remove();
  const bytes = Uint8Array.fromBase64?.(text) ?? Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

const unpackText = async (name) => new TextDecoder().decode(await unpack(name));

async function runScript(name) {
  const script = document.createElement("script");
  script.textContent = await unpackText(name);
  document.head.append(script);
}

(async () => {
  const data = [unpackText("meta"), unpack("curves")]; // while the scripts are unpacked
  await Promise.all([runScript("uplot"), runScript("app")]);
  await start(...(await Promise.all(data))); // of main.js
})().catch((error) => {
  const message = document.createElement("p");
  message.textContent = `The page needs a browser of 2024 or later. (${error})`;
  document.getElementById("page").prepend(message);
  throw error;
});
