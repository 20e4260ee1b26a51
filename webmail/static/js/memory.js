// What this browser remembers about its own look. Never anything of mail.

export function recall(name) {
  try {
    return localStorage.getItem(`sealpost.${name}`);
  } catch {
    return null;
  }
}

export function remember(name, value) {
  try {
    if (value === null) localStorage.removeItem(`sealpost.${name}`);
    else localStorage.setItem(`sealpost.${name}`, value);
  } catch {
    // Storage may be forbidden or full: the choice then lasts until the page is left.
  }
}
