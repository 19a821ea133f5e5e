/** `sweep`: ends and deletes the sessions that a killed driver left behind. */
import { type DrivingOptions, drive } from './driver-commands.js';
import { complain, EXIT, print, printJson } from './shared.js';

export interface SweepCommandOptions extends DrivingOptions {
  dryRun?: boolean;
}

export async function sweep(options: SweepCommandOptions): Promise<number> {
  const { dryRun = false, json = false } = options;
  return drive(options, async ({ driver, signal }) => {
    const { ended, failed, elsewhere } = await driver.sweep({ dryRun, signal });
    const ok = failed.length === 0;
    if (json) {
      printJson({ ok, ...(dryRun && { dryRun }), ended, failed, elsewhere });
    } else {
      for (const { id, title = '' } of ended) print(`${id}  ${title}`);
      for (const { id, error } of failed) complain(`${id} is left: ${error}`);
      complain(`${ended.length} ${dryRun ? 'would be ended' : 'ended and deleted'}`);
      if (elsewhere > 0) complain(`${elsewhere} of drivers on other machines: sweep there`);
    }
    return ok ? EXIT.done : EXIT.failed;
  });
}
