// Before a block in JavaScript: what the client believes delivered goes to the
// file $DELIVERED, as {order: nanoseconds of its time, or null}.
import { writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

const delivered = {};

export function keep(message, ns = null) {
    delivered[message.split(' ')[1]] = ns;
}

// the orders, over some seconds
export async function* numbers() {
    for (let n = 0; n < Number(process.env.COUNT); n++) {
        yield n;
        await sleep(2);
    }
}

process.on('exit', () => writeFileSync(process.env.DELIVERED, JSON.stringify(delivered)));
