/** A reporter for vitest: the ten slowest tests and files of a run (`npm run test:slowest`). */
const COUNT = 10;

const seconds = (ms) => `${(ms / 1000).toFixed(1).padStart(7)} s`;
const slowest = (all) => all.sort((a, b) => b.ms - a.ms).slice(0, COUNT);

export default class SlowestReporter {
  onTestRunEnd(modules) {
    const tests = [];
    const files = [];
    for (const module of modules) {
      const file = module.relativeModuleId;
      files.push({ ms: module.diagnostic().duration, name: file });
      for (const test of module.children.allTests()) {
        tests.push({ ms: test.diagnostic()?.duration ?? 0, name: `${file} > ${test.fullName}` });
      }
    }
    for (const [title, all] of [
      ['tests', tests],
      ['files', files],
    ]) {
      console.log(`\nThe ${COUNT} slowest ${title}:`);
      for (const { ms, name } of slowest(all)) console.log(`${seconds(ms)}  ${name}`);
    }
  }
}
