import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { at } from "./common.mjs";
import { firstLine, must } from "./process.mjs";
import { installPackages } from "./system.mjs";

const requirements = ["pusher==3.3.4", "requests==2.34.2", "websockets==16.0"];
const venv = at(".tools/venv");
const stamp = at(".tools/venv/.dormouse-stamp");
const wanted = requirements.join("\n");

/** The Python that has the packages the tests need. */
export const python = at(".tools/venv/bin/python");

/** Tells whether that Python is there and runs. */
export async function pythonReady() {
  if (!existsSync(stamp) || readFileSync(stamp, "utf8") !== wanted) return false;
  return (await firstLine(python, ["--version"])) !== undefined;
}

/** Makes that Python, a virtual environment inside the clone. */
export async function installPython(task) {
  const probe = ["-c", "import sys, venv, ensurepip; assert sys.version_info >= (3, 10); print(1)"];
  if ((await firstLine("python3", probe)) === undefined) {
    await installPackages(task, ["python3", "python3-venv"], "Python 3.10 or newer with its venv module");
  }
  rmSync(venv, { recursive: true, force: true });
  await must(task, "python3", ["-m", "venv", venv], { seconds: 120 });
  const pip = ["-m", "pip", "install", "--disable-pip-version-check", "--retries", "5", ...requirements];
  await must(task, python, pip, { seconds: 300 });
  writeFileSync(stamp, wanted);
}
