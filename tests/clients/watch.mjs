// Before a block in JavaScript: the orders, and what the client believes
// delivered goes to the file $DELIVERED as {order: nanoseconds of its time, or
// null}.
import { writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

const delivered = {};

export function keep(message, ns = null) {
    delivered[message.split(' ')[1]] = ns;
}

// over some seconds
export async function* numbers() {
    const first = Number(process.env.FIRST);
    for (let n = first; n < first + Number(process.env.COUNT); n++) {
        yield n;
        await sleep(2);
    }
}

process.on('exit', () => {
    if (Object.keys(delivered).length) {
        writeFileSync(process.env.DELIVERED, JSON.stringify(delivered));
    }
});
