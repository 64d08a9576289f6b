import { ROOT_CONTEXT, trace } from '@opentelemetry/api';

import { keep } from './watch.mjs';

export const context = trace.setSpanContext(ROOT_CONTEXT, {
    traceId: '5b8efff798038103d269b633813fc60c', spanId: 'eee19b7ec3c1b174', traceFlags: 1,
});

export function watch(exporter) {
    const send = exporter.export;
    exporter.export = function (records, done) {
        send.call(this, records, (result) => {
            if (result.code === 0) {
                for (const r of records) {
                    keep(r.body, String(BigInt(r.hrTime[0]) * 1000000000n + BigInt(r.hrTime[1])));
                }
            }
            done(result);
        });
    };
}
