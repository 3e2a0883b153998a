# Writes to an image through librbd and carries out operations on it meanwhile.
# journalwriter.py POOL IMAGE SEED OPERATIONS SECONDS; CEPH_CONF is the cluster.
import os, random, signal, sys, threading, time
import rados, rbd

pool, name, seed, operations, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5])
rnd = random.Random(seed)
cluster = rados.Rados(conffile=os.environ["CEPH_CONF"])
cluster.connect()
image = rbd.Image(cluster.open_ioctx(pool), name)
depth, lock, busy, stop, count = threading.Semaphore(24), threading.Lock(), [], threading.Event(), 0
size = image.size()


def done(mine):
    with lock:
        busy.remove(mine)
    depth.release()


def writes(rnd):
    # Requests that overlap one under way are not made: their order is nobody's.
    global count
    while not stop.is_set():
        length = rnd.choice([512, 512, 4096, 4096, 4096, 7000, 32768, 100000])
        off = rnd.randrange(size // 512) * 512
        length = min(length, size - off)
        mine = (off, off + length)
        depth.acquire()
        with lock:
            if any(b[0] < mine[1] and mine[0] < b[1] for b in busy):
                depth.release()
                continue
            busy.append(mine)
        ended = lambda completion, mine=mine: done(mine)
        kind = rnd.random()
        try:
            if kind < 0.85:
                image.aio_write(rnd.randbytes(length), off, ended)
            elif kind < 0.93:
                image.aio_discard(off, length, ended)
            elif kind < 0.98:
                image.aio_write_zeroes(off, length, ended)
            else:
                done(mine)
                image.flush()
        except rbd.Error as err:  # beyond the end that a shrink has just made
            print("write:", err, flush=True)
            done(mine)
        count += 1


def keep_to(end):
    # librbd dies of writes under way beyond an end that a rollback or a shrink makes.
    global size
    size = min(size, end)
    while True:
        with lock:
            if all(b[1] <= end for b in busy):
                return
        time.sleep(0.001)


def operate(i):
    global size
    snaps = {s["name"]: s["size"] for s in image.list_snaps()
             if s["namespace"] == rbd.RBD_SNAP_NAMESPACE_TYPE_USER and s["name"][0] != "."}
    one = rnd.choice(list(snaps)) if snaps else None
    kind = rnd.random()
    if one is None or kind < 0.4:
        what = "create s%d" % i
        image.create_snap("s%d" % i)
    elif kind < 0.65:
        to = rnd.randrange(2 << 20, 40 << 20)
        what = "resize to %d" % to
        keep_to(to)
        image.resize(to)
        size = to
    elif kind < 0.75:
        what = "roll back to " + one
        keep_to(snaps[one])
        image.rollback_to_snap(one)
        size = image.size()
    elif kind < 0.82:
        what = "rename %s r%d" % (one, i)
        image.rename_snap(one, "r%d" % i)
    elif kind < 0.88:
        protected = image.is_protected_snap(one)
        what = "protect %s: %s" % (one, not protected)
        image.unprotect_snap(one) if protected else image.protect_snap(one)
    elif kind < 0.94:
        what = "metadata"
        image.metadata_set("key%d" % rnd.randrange(4), "value%d" % i)
    elif image.is_protected_snap(one):
        return
    else:
        what = "remove " + one
        image.remove_snap(one)
    print(count, what, flush=True)


writer = threading.Thread(target=writes, args=(random.Random(seed + 1),), daemon=True)
writer.start()
for i in range(operations):
    time.sleep(rnd.random() * 2 * seconds / operations)
    operate(i)
stop.set()
writer.join()
for _ in range(24):
    depth.acquire()
image.flush()
image.close()
cluster.shutdown()
print(count, "requests", flush=True)
