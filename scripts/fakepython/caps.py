"""caps.py CONF POOL: what users with all kinds of capabilities may do, one line an
attempt, so that the output of two clusters can be compared."""

import json
import sys

import rados
import rbd

conf, POOL = sys.argv[1], sys.argv[2]
OTHER = POOL + '-other'

USERS = {
    'rbd': {'mon': 'profile rbd', 'osd': 'profile rbd', 'mgr': 'profile rbd'},
    'rbd-pool': {'mon': 'profile rbd', 'osd': 'profile rbd pool=' + POOL, 'mgr': 'profile rbd pool=' + POOL},
    'rbd-namespace': {'mon': 'profile rbd', 'osd': 'profile rbd pool=%s namespace=ns' % POOL, 'mgr': 'profile rbd pool=%s namespace=ns' % POOL},
    'read-only': {'mon': 'profile rbd-read-only', 'osd': 'profile rbd-read-only', 'mgr': 'profile rbd-read-only'},
    'read-only-pool': {'mon': 'profile rbd', 'osd': 'profile rbd-read-only pool=' + POOL, 'mgr': 'profile rbd-read-only pool=' + POOL},
    'mirror': {'mon': 'profile rbd-mirror', 'osd': 'profile rbd', 'mgr': 'profile rbd'},
    'mirror-peer': {'mon': 'profile rbd-mirror-peer', 'osd': 'profile rbd'},
    'simple': {'mon': 'profile simple-rados-client', 'osd': 'allow rw'},
    'simple-blocklist': {'mon': 'profile simple-rados-client-with-blocklist', 'osd': 'allow rw'},
    'nothing': {'mon': 'allow r'},
    'mon-rw': {'mon': 'allow rw', 'osd': 'allow r'},
    'mon-all': {'mon': 'allow *'},
    'read': {'mon': 'allow r', 'osd': 'allow r'},
    'write': {'mon': 'allow r', 'osd': 'allow w'},
    'rw': {'mon': 'allow r', 'osd': 'allow rw'},
    'rwx': {'mon': 'allow r', 'osd': 'allow rwx'},
    'class-read': {'mon': 'allow r', 'osd': 'allow class-read'},
    'class-write': {'mon': 'allow r', 'osd': 'allow class-write'},
    'rw-class-read': {'mon': 'allow r', 'osd': 'allow rw class-read'},
    'prefix': {'mon': 'allow r', 'osd': 'allow rw object_prefix a-'},
    'two': {'mon': 'allow r', 'osd': 'allow r pool=%s, allow rwx pool=%s' % (POOL, OTHER)},
    'two-semicolon': {'mon': 'allow r; allow command "osd blocklist"', 'osd': 'allow r pool=%s; allow rwx pool=%s' % (POOL, OTHER)},
    'command': {'mon': 'allow command "osd pool ls", allow command "config-key get" with key=caps', 'osd': 'allow *'},
    'command-prefix': {'mon': 'allow r, allow command "config-key set" with key prefix caps/', 'osd': 'allow *'},
    'service': {'mon': 'allow service osd r, allow service config-key r', 'osd': 'allow *'},
    'tag': {'mon': 'allow r', 'osd': 'allow rwx tag rbd k=v'},
    'tag-any': {'mon': 'allow r', 'osd': 'allow r tag rbd *=*'},
    'class': {'mon': 'allow r', 'osd': 'allow class hello, allow rw'},
    'class-method': {'mon': 'allow r', 'osd': 'allow class hello say_hello'},
    'profile-and-read': {'mon': 'profile rbd', 'osd': 'profile rbd pool=%s, profile rbd-read-only pool=%s' % (OTHER, POOL)},
    'network': {'mon': 'allow r', 'osd': 'allow rw network 127.0.0.0/8'},
    'other-network': {'mon': 'allow r', 'osd': 'allow rw network 10.0.0.0/8'},
    'namespace-prefix': {'mon': 'allow r', 'osd': 'allow rw namespace=n*'},
    'no-namespace': {'mon': 'allow r', 'osd': 'allow rw namespace=""'},
}


def attempt(user, label, f):
    """Try it, and print whether it went."""
    try:
        r = f()
        text = 'ok' if r is None or not isinstance(r, int) or r >= 0 else str(r)
    except Exception as e:
        text = '%s %s' % (type(e).__name__, getattr(e, 'errno', ''))
    print('%s %s -> %s' % (user, label, text), flush=True)


def objects(user, io, pool):
    attempt(user, pool + ' read', lambda: io.read('a-1'))
    attempt(user, pool + ' read b', lambda: io.read('b-1'))
    attempt(user, pool + ' stat', lambda: io.stat('a-1'))
    attempt(user, pool + ' read none', lambda: io.read('a-none'))
    attempt(user, pool + ' write', lambda: io.write('a-1', b'x'))
    attempt(user, pool + ' write b', lambda: io.write('b-1', b'x'))
    attempt(user, pool + ' xattr', lambda: io.get_xattr('a-1', 'k'))
    attempt(user, pool + ' set xattr', lambda: io.set_xattr('a-1', 'k', b'v'))
    attempt(user, pool + ' class', lambda: io.execute('a-1', 'hello', 'say_hello', b'x'))
    attempt(user, pool + ' class write', lambda: io.execute('b-1', 'hello', 'record_hello', b'x'))
    attempt(user, pool + ' class none', lambda: io.execute('a-1', 'hello', 'none', b'x'))
    attempt(user, pool + ' list', lambda: len(list(io.list_objects())))
    attempt(user, pool + ' lock', lambda: [io.lock_exclusive('a-1', 'l', 'c'), io.unlock('a-1', 'l', 'c')] and None)

    def watch():
        w = io.watch('a-1', lambda *a: None)
        w.close()
    attempt(user, pool + ' watch', watch)
    attempt(user, pool + ' notify', lambda: io.notify('a-1', 'm', 1000))
    attempt(user, pool + ' remove', lambda: io.remove_object('a-rm'))
    attempt(user, pool + ' snap', lambda: io.create_self_managed_snap())
    for ns in ('ns', 'other', 'n1'):
        io.set_namespace(ns)
        attempt(user, pool + '/' + ns + ' read', lambda: io.read('a-1'))
        attempt(user, pool + '/' + ns + ' write', lambda: io.write('a-1', b'x'))
    io.set_namespace('')


def images(user, io, pool):
    r = rbd.RBD()
    attempt(user, pool + ' rbd ls', lambda: r.list(io))

    def readonly():
        with rbd.Image(io, 'image', read_only=True) as i:
            i.read(0, 10)
            return i.size()
    attempt(user, pool + ' rbd read', readonly)

    def writable():
        with rbd.Image(io, 'image') as i:
            i.write(b'x', 0)
            i.create_snap('s')
            i.remove_snap('s')
    attempt(user, pool + ' rbd write', writable)
    attempt(user, pool + ' rbd create', lambda: r.create(io, 'new-' + user, 1 << 20))
    attempt(user, pool + ' rbd remove', lambda: r.remove(io, 'new-' + user))
    attempt(user, pool + ' rbd namespaces', lambda: r.namespace_list(io))
    attempt(user, pool + ' rbd mirror mode', lambda: r.mirror_mode_get(io))
    attempt(user, pool + ' rbd mirror mode set', lambda: r.mirror_mode_set(io, rbd.RBD_MIRROR_MODE_DISABLED))
    io.set_namespace('ns')
    attempt(user, pool + '/ns rbd ls', lambda: r.list(io))
    attempt(user, pool + '/ns rbd create', lambda: r.create(io, 'new-' + user, 1 << 20))
    attempt(user, pool + '/ns rbd remove', lambda: r.remove(io, 'new-' + user))
    io.set_namespace('')


COMMANDS = [
    ('status', {}), ('osd dump', {}), ('osd pool ls', {}), ('mon dump', {}), ('df', {}), ('fs ls', {}), ('quorum_status', {}), ('health', {}), ('auth ls', {}),
    ('auth get', {'entity': 'client.admin'}), ('auth get-or-create', {'entity': 'client.caps-x', 'caps': ['mon', 'allow r']}),
    ('config dump', {}), ('config get', {'who': 'client', 'key': 'rbd_cache'}), ('config set', {'who': 'client.caps-x', 'name': 'rbd_cache', 'value': 'true'}),
    ('config-key get', {'key': 'caps'}), ('config-key get', {'key': 'rbd/mirror/peer/1/x'}), ('config-key get', {'key': 'rbd/mirror/site_name'}),
    ('config-key set', {'key': 'caps/1', 'val': 'x'}), ('config-key set', {'key': 'rbd/mirror/peer/1/x', 'val': 'x'}), ('config-key set', {'key': 'rbd/mirror/site_name', 'val': 'x'}),
    ('config-key ls', {}), ('config-key exists', {'key': 'caps'}), ('config-key rm', {'key': 'caps/1'}),
    ('osd blocklist', {'blocklistop': 'add', 'addr': '10.9.8.7:0/1'}), ('osd blocklist', {'blocklistop': 'rm', 'addr': '10.9.8.7:0/1'}), ('osd blocklist ls', {}),
    ('osd pool create', {'pool': 'caps-new', 'pg_num': 8}), ('osd pool set', {'pool': POOL, 'var': 'nodelete', 'val': '0'}), ('osd pool get', {'pool': POOL, 'var': 'size'}),
    ('osd pool application get', {'pool': POOL}), ('osd map', {'pool': POOL, 'object': 'x'}), ('osd tree', {}), ('osd set', {'key': 'noout'}), ('osd unset', {'key': 'noout'}),
    ('mgr dump', {}), ('mgr services', {}), ('versions', {}), ('log', {'logtext': ['x']}), ('no such command', {}), ('service dump', {}), ('osd metadata', {}), ('mon metadata', {}),
    ('time-sync-status', {}), ('report', {}), ('node ls', {}),
]
MANAGER = [
    ('pg stat', {}), ('service dump', {}), ('osd df', {}), ('rbd task list', {}), ('rbd task add flatten', {'image_spec': POOL + '/image'}),
    ('rbd mirror snapshot schedule list', {'level_spec': ''}), ('rbd mirror snapshot schedule list', {'level_spec': POOL + '/'}),
    ('rbd mirror snapshot schedule add', {'level_spec': POOL + '/', 'interval': '1d'}), ('rbd mirror snapshot schedule remove', {'level_spec': POOL + '/'}),
    ('rbd mirror snapshot schedule status', {'level_spec': POOL + '/'}), ('rbd trash purge schedule list', {'level_spec': POOL + '/'}),
    ('rbd trash purge schedule add', {'level_spec': OTHER + '/', 'interval': '1d'}), ('rbd trash purge schedule remove', {'level_spec': OTHER + '/'}),
    ('rbd perf image counters', {'pool_spec': POOL}), ('no such command', {}),
]


def commands(user, c):
    for prefix, kw in COMMANDS:
        attempt(user, 'mon %s %s' % (prefix, ' '.join(str(v) for v in kw.values())),
                lambda: c.mon_command(json.dumps(dict(prefix=prefix, format='json', **kw)), b'')[0])
    for prefix, kw in MANAGER if 'mgr' in USERS[user] else ():  # others are not let in, and wait
        attempt(user, 'mgr %s %s' % (prefix, ' '.join(str(v) for v in kw.values())),
                lambda: c.mgr_command(json.dumps(dict(prefix=prefix, **kw)), b'')[0])
    attempt(user, 'osd version', lambda: c.osd_command(0, json.dumps({'prefix': 'version'}), b'')[0])
    attempt(user, 'create pool', lambda: c.create_pool('caps-made'))
    attempt(user, 'delete pool', lambda: c.delete_pool('caps-none'))
    attempt(user, 'stats', lambda: c.get_cluster_stats())


admin = rados.Rados(conffile=conf)
admin.connect()


def must(**kw):
    r, out, status = admin.mon_command(json.dumps(kw), b'')
    if r < 0:
        raise RuntimeError('%s: %s %s' % (kw, r, status))
    return out


for pool in (POOL, OTHER):
    admin.create_pool(pool)
    with admin.open_ioctx(pool) as ctx:
        R = rbd.RBD()
        R.pool_init(ctx, True)
        R.namespace_create(ctx, 'ns')
        R.create(ctx, 'image', 4 << 20)
        for space in ('', 'ns', 'other', 'n1'):
            ctx.set_namespace(space)
            ctx.write_full('a-1', b'data')
            ctx.set_xattr('a-1', 'k', b'v')
            ctx.write_full('b-1', b'data')
must(prefix='osd pool application set', pool=POOL, app='rbd', key='k', value='v')
must(prefix='config-key set', key='caps', val='v')
must(prefix='config-key set', key='rbd/mirror/peer/1/x', val='v')
for bad in ('nonsense', 'allow', 'allow q', 'profile', 'allow r pool', 'profile nobody', 'allow r namespace=a b', 'allow rwx foo=bar', '', 'allow command', 'allow r,', 'allow r allow w'):
    for service in ('mon', 'osd', 'mgr'):
        print('caps', service, repr(bad), admin.mon_command(json.dumps({'prefix': 'auth get-or-create', 'entity': 'client.caps-bad', 'caps': [service, bad]}), b'')[::2])
        admin.mon_command(json.dumps({'prefix': 'auth rm', 'entity': 'client.caps-bad'}), b'')
for name, caps in USERS.items():
    must(prefix='auth get-or-create', entity='client.caps-' + name, caps=[x for pair in caps.items() for x in pair])
    key = must(prefix='auth get-key', entity='client.caps-' + name).decode().strip()
    c = rados.Rados(conffile=conf, rados_id='caps-' + name, conf={'key': key, 'keyring': '/nonexistent', 'rados_osd_op_timeout': '3', 'rados_mon_op_timeout': '5'})
    c.connect()
    for pool in (POOL, OTHER):
        if name in ('command', 'service'):
            break  # they do not get far enough to open a pool, or only some do
        with c.open_ioctx(pool) as ctx:
            objects(name, ctx, pool)
            if name.split('-')[0] in ('rbd', 'read', 'mirror', 'simple', 'rwx', 'profile', 'nothing'):
                images(name, ctx, pool)
    commands(name, c)
    c.shutdown()
    for n in ('caps-new', 'caps-made'):
        if admin.pool_exists(n):
            admin.delete_pool(n)
    admin.mon_command(json.dumps({'prefix': 'osd unset', 'key': 'noout'}), b'')
    admin.mon_command(json.dumps({'prefix': 'auth rm', 'entity': 'client.caps-x'}), b'')
admin.shutdown()
