# golden-events.py POOL OUT: makes librbd write one event of every kind to a journal
# in an empty POOL of the cluster in CEPH_CONF, and writes the journal's objects as
# journal/wire/testdata/RELEASE/events.json has them.
import ctypes, json, os, subprocess, sys
import rados, rbd
pool, out, conf = sys.argv[1], sys.argv[2], os.environ["CEPH_CONF"]
c = rados.Rados(conffile=conf); c.connect()
io = c.open_ioctx(pool)
r = rbd.RBD()
F = rbd.RBD_FEATURE_LAYERING | rbd.RBD_FEATURE_EXCLUSIVE_LOCK | rbd.RBD_FEATURE_JOURNALING
r.create(io, "parent", 4 << 20, old_format=False, features=F & ~rbd.RBD_FEATURE_JOURNALING)
with rbd.Image(io, "parent") as p:
    p.write(b"p" * 4096, 0); p.create_snap("s"); p.protect_snap("s")
r.clone(io, "parent", "s", io, "i", features=F)
with rbd.Image(io, "i") as i:
    jid = i.id()
# a client that reads nothing keeps every entry
enc = lambda s: len(s).to_bytes(4, "little") + s
try:
    io.execute("journal." + jid, "journal", "client_register", enc(b"reader") + enc(b""))
except Exception as e:
    print("register", e)
L2 = ctypes.CDLL("librados.so.2")
L = ctypes.CDLL("librbd.so.1")
cl = ctypes.c_void_p()
assert L2.rados_create(ctypes.byref(cl), None) == 0
assert L2.rados_conf_read_file(cl, conf.encode()) == 0
assert L2.rados_connect(cl) == 0
ic = ctypes.c_void_p(); assert L2.rados_ioctx_create(cl, pool.encode(), ctypes.byref(ic)) == 0
im = ctypes.c_void_p(); assert L.rbd_open(ic, b"i", ctypes.byref(im), None) == 0
u = ctypes.c_uint64
L.rbd_write.restype = ctypes.c_ssize_t
print("write", L.rbd_write(im, u(100), ctypes.c_size_t(5000), b"w" * 5000))
L.rbd_writesame.restype = ctypes.c_ssize_t
print("writesame", L.rbd_writesame(im, u(8192), ctypes.c_size_t(4096), b"same" * 128, ctypes.c_size_t(512), 0))
mm = u(0); L.rbd_compare_and_write.restype = ctypes.c_ssize_t
print("caw", L.rbd_compare_and_write(im, u(8192), ctypes.c_size_t(512), b"same" * 128, b"else" * 128, ctypes.byref(mm), 0))
print("caw no", L.rbd_compare_and_write(im, u(8192), ctypes.c_size_t(512), b"same" * 128, b"more" * 128, ctypes.byref(mm), 0), mm.value)
print("discard", L.rbd_discard(im, u(65536), u(131072)))
print("flush", L.rbd_flush(im))
L.rbd_close(im)
with rbd.Image(io, "i") as i:
    i.write_zeroes(4096, 8192) if hasattr(i, "write_zeroes") else None
    i.create_snap("one"); i.rename_snap("one", "two"); i.protect_snap("two"); i.unprotect_snap("two")
    i.resize(6 << 20); i.rollback_to_snap("two"); i.set_snap_limit(7)
    i.metadata_set("k", "v"); i.metadata_remove("k")
    i.update_features(rbd.RBD_FEATURE_OBJECT_MAP, True); i.update_features(rbd.RBD_FEATURE_OBJECT_MAP, False)
    i.remove_snap("two"); i.flatten(); i.flush()
r.rename(io, "i", "j")
subprocess.run(["rbd", "-c", conf, "mirror", "pool", "enable", pool, "image"], check=True)
subprocess.run(["rbd", "-c", conf, "mirror", "image", "enable", pool + "/j", "journal"], check=True)
subprocess.run(["rbd", "-c", conf, "mirror", "image", "demote", pool + "/j"], check=True)
subprocess.run(["rbd", "-c", conf, "mirror", "image", "promote", pool + "/j"], check=True)
objs = []
for o in sorted(x.key for x in io.list_objects()):
    if not o.startswith("journal"): continue
    with rados.ReadOpCtx() as op:
        it, _ = io.get_omap_vals(op, "", "", 1000); io.operate_read_op(op, o)
        omap = {k: v.hex() for k, v in it}
    objs.append({"name": o, "data": io.read(o, 1 << 24).hex(), "omap": omap})
json.dump(objs, open(out, "w"), indent=1); open(out, "a").write("\n")
