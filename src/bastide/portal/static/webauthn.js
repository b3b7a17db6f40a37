"use strict";

// Asks a security key what the page says in data-key, and sends the form with the answer. Nothing else is sent anywhere.
const LETTERS = [[/-/g, "+"], [/_/g, "/"]];

function bytes(text) {
  for (const [from, to] of LETTERS) text = text.replace(from, to);
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

function text(buffer) {
  const letters = Array.from(new Uint8Array(buffer), (byte) => String.fromCharCode(byte)).join("");
  return btoa(letters).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}

function descriptors(list) {
  return (list || []).map((one) => ({ ...one, id: bytes(one.id) }));
}

async function answer(options, makes) {
  const publicKey = { ...options, challenge: bytes(options.challenge) };
  if (makes) {
    publicKey.user = { ...options.user, id: bytes(options.user.id) };
    publicKey.excludeCredentials = descriptors(options.excludeCredentials);
  } else {
    publicKey.allowCredentials = descriptors(options.allowCredentials);
  }
  const made = await navigator.credentials[makes ? "create" : "get"]({ publicKey });
  const response = { clientDataJSON: text(made.response.clientDataJSON) };
  if (makes) {
    response.attestationObject = text(made.response.attestationObject);
    response.transports = made.response.getTransports ? made.response.getTransports() : [];
  } else {
    response.authenticatorData = text(made.response.authenticatorData);
    response.signature = text(made.response.signature);
  }
  return JSON.stringify({ id: made.id, rawId: text(made.rawId), type: made.type, response });
}

function refuse(form, words) {
  const place = form.querySelector("[data-key-said]");
  place.textContent = words;
  place.hidden = false;
}

async function send(form) {
  const asked = form.elements.challenge.value;
  if (!window.PublicKeyCredential) {
    refuse(form, "This browser cannot use security keys.");
    return;
  }
  try {
    form.elements.credential.value = await answer(JSON.parse(form.dataset.key), form.dataset.keyMakes === "yes");
  } catch (error) {
    const known = error.name === "InvalidStateError";
    refuse(form, known ? "This security key is registered already." : "The security key was not used. Try again, or open the page anew.");
    return;
  }
  // The page may have been brought up to date meanwhile.
  form.elements.challenge.value = asked;
  form.submit();
}

// On the document, because a form may be put into the page later.
document.addEventListener("submit", (event) => {
  if (!event.target.matches("form[data-key]")) return;
  event.preventDefault();
  send(event.target);
});
