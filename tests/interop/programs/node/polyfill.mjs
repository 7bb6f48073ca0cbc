// Node 20 lacks Promise.withResolvers, which the official SDK uses. Preloaded with --import.
Promise.withResolvers ??= function () {
  let resolve, reject;
  const promise = new this((res, rej) => {
    resolve = res;
    reject = rej;
  });
  return { promise, resolve, reject };
};
