// Unpacks the scripts and runs them. The page's policy allows them by their hashes.
"use strict";

async function unpack(name) {
  const element = document.getElementById(`data-${name}`);
  const text = element.textContent;
  element.remove(); // the text of a large page takes as much memory as all that is made of it
  let bytes;
  if (Uint8Array.fromBase64) {
    bytes = Uint8Array.fromBase64(text);
  } else {
    const raw = atob(text);
    bytes = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  }
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

(async () => {
  for (const name of ["uplot", "diff", "app"]) {
    const script = document.createElement("script");
    script.textContent = new TextDecoder().decode(await unpack(name));
    document.head.append(script);
  }
  await start(); // of main.js
})().catch((error) => {
  const message = document.createElement("p");
  message.textContent = `The page needs a browser of 2024 or later. (${error})`;
  document.getElementById("page").prepend(message);
  throw error;
});
