import { build } from "./build.mjs";
import { main, PlainError } from "./common.mjs";
import { runInForeground } from "./process.mjs";
import { forBuilding, setUp } from "./setup.mjs";

const targets = {
  build: { needs: forBuilding, builds: true, commands: [] },
  deploy: { needs: forBuilding, builds: true, commands: [["wrangler", "deploy"]] },
  format: {
    needs: ["packages", "lint tools"],
    commands: [
      ["cargo", "fmt", "--all"],
      ["biome", "check", "--write", "."],
    ],
  },
  bench: { needs: forBuilding, builds: true, commands: [["node", "tests/load/bench.mjs"]] },
  faults: { needs: forBuilding, builds: true, commands: [["node", "tests/faults/run.mjs"]] },
  weather: {
    needs: ["toolchain"],
    commands: [["cargo", "run", "--profile", "weather", "-p", "dormouse-core", "--example", "weather", "--"]],
  },
};

main(async () => {
  const [name, ...args] = process.argv.slice(2);
  const target = targets[name];
  if (!target) throw new PlainError(`Usage: node tools/run.mjs ${Object.keys(targets).join("|")}`);
  await setUp(target.needs);
  if (target.builds) await build();
  for (const [index, command] of target.commands.entries()) {
    const isLast = index === target.commands.length - 1;
    const [program, ...own] = command;
    const code = await runInForeground(program, isLast ? [...own, ...args] : own);
    if (code !== 0) process.exit(code);
  }
});
