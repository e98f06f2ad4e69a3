import { existsSync } from "node:fs";
import { environment, PlainError } from "./common.mjs";
import { firstLine, must, run } from "./process.mjs";

let aptQueue = Promise.resolve();

const mayUseApt = () => process.getuid?.() === 0 && existsSync("/usr/bin/apt-get");

async function aptInstall(task, packages) {
  const env = environment({ DEBIAN_FRONTEND: "noninteractive" });
  const lock = ["-o", "DPkg::Lock::Timeout=120"];
  await run(task, "apt-get", [...lock, "update"], { env, seconds: 300 });
  const install = [...lock, "install", "-y", "--no-install-recommends", ...packages];
  await must(task, "apt-get", install, { env, seconds: 900 });
}

/** Installs Debian packages where we may, and says what to install where we may not. */
export function installPackages(task, packages, purpose) {
  if (!mayUseApt()) {
    throw new PlainError(
      `${purpose} is missing. On Debian or Ubuntu: sudo apt-get install ${packages.join(" ")}` +
        "\n(other systems have packages of similar names), then run this again.",
    );
  }
  // apt-get allows one at a time.
  const turn = aptQueue.then(() => aptInstall(task, packages));
  aptQueue = turn.catch(() => {});
  return turn;
}

/** Tells whether OpenSSL can be compiled against. */
export async function hasOpenSslHeaders() {
  // macOS brings a TLS library of its own, which is used instead.
  if (process.platform === "darwin" || process.env.OPENSSL_DIR) return true;
  return (await firstLine("pkg-config", ["--modversion", "openssl"])) !== undefined;
}

/** Returns the path or name of a Chromium that can be run, if there is one. */
export function findChromium() {
  const macChrome = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome";
  const places = ["/usr/bin/chromium", "/usr/bin/google-chrome", "/usr/bin/chromium-browser", macChrome];
  return [process.env.CHROMIUM, ...places].find((path) => path && existsSync(path));
}

/** Tells whether that Chromium runs, which a place-holder for another kind of package would not. */
export async function chromiumReady() {
  const path = findChromium();
  return path !== undefined && (await firstLine(path, ["--version"])) !== undefined;
}

/** Throws with a list of what has to be installed by hand, if anything has. */
export async function checkByHand() {
  const missing = [];
  if (Number(process.versions.node.split(".")[0]) < 20) {
    missing.push(`Node.js 20 or newer (this is ${process.version}): https://nodejs.org`);
  }
  const [npm, cargo, cc] = await Promise.all([
    firstLine("npm", ["--version"]),
    firstLine("cargo", ["--version"]),
    firstLine("cc", ["--version"]),
  ]);
  if (npm === undefined) missing.push("npm, which comes with Node.js: https://nodejs.org");
  if (cargo === undefined) missing.push("Rust, by rustup: https://rustup.rs");
  if (cc === undefined) {
    missing.push(
      "a C compiler: `sudo apt-get install build-essential`, or on macOS `xcode-select --install`",
    );
  }
  if (missing.length > 0) throw new PlainError(`Please install first:\n  - ${missing.join("\n  - ")}`);
}
