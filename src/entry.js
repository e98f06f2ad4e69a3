// What wrangler deploys. A plain handler, because the generated entry point is a class behind two proxies that are made anew for every request
// (a twentieth of the time of a publish). Its `fetch` is kept, and with it the recovery from a trap that it is wrapped in.
import Worker, { Directory, Hub, Room } from "../build/index.js";

let serve;

export { Directory, Hub, Room };

export default {
  fetch(request, env, ctx) {
    serve ??= new Worker(ctx, env).fetch;
    return serve.call({ env, ctx }, request);
  },
};
