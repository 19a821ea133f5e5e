/** The restarts that were decided and not made because of a pause: each was told as a restart before. */
import type { TelemetryRecord } from '../telemetry/logger.js';

/** Whether a pause left the restart that the last `server.restarting` told of. (A dry run tells of none.) */
export function leavesRestart(
  record: TelemetryRecord,
): record is Extract<TelemetryRecord, { event: 'act.skipped' }> {
  if (record.event !== 'act.skipped') return false;
  return record.fields.act === 'restart' && record.fields.because === 'paused';
}
