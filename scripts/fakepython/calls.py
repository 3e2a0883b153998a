"""calls.py CONF POOL: call python3-rados and python3-rbd on a cluster, and print what
each call answers, one line a call. What differs from run to run (times, ids,
addresses) is made equal, so that the output of two clusters can be compared."""

import datetime
import json
import os
import re
import subprocess
import sys
import threading
import time

import rados
import rbd

conf, POOL = sys.argv[1], sys.argv[2]
names = {}


def plain(value):
    """The text of a value without what changes from run to run."""
    if type(value).__name__.endswith('Ctx'):
        return 'op'
    if isinstance(value, datetime.datetime):
        return 'time'
    if isinstance(value, (set, frozenset)):
        value = sorted(value, key=repr)
    if isinstance(value, dict):
        return '{' + ', '.join('%r: %s' % (k, plain(value[k])) for k in sorted(value, key=repr)) + '}'
    if isinstance(value, (list, tuple)):
        return '[' + ', '.join(plain(v) for v in value) + ']'
    text = repr(value)
    if isinstance(value, (bytes, str)) and len(value) > 200:
        return '%d bytes, sum %d' % (len(value), sum(value if isinstance(value, bytes) else value.encode()))
    text = re.sub(r'datetime\.datetime\([^)]*\)', 'time', text)
    text = re.sub(r'\d+\.\d+\.\d+\.\d+:\d+/\d+', 'addr', text)
    text = re.sub(r'client\.\d+', 'client.N', text)
    text = re.sub(r'\d{4}-\d\d-\d\dT[0-9:.]+[+0-9Z]*', 'time', text)
    text = re.sub(r'report \d+', 'report N', text)
    text = re.sub(r'key = [A-Za-z0-9+/=]+', 'key = secret', text)

    def name(m):
        return names.setdefault(m.group(0), 'id%d' % len(names))

    text = re.sub(r'[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}', name, text)
    return re.sub(r'\b(?=[0-9a-f]*[0-9])[0-9a-f]{10,16}\b', name, text)


def call(label, f, *args, show=plain, **kw):
    """Call f and print what comes of it."""
    result = None
    try:
        result = f(*args, **kw)
        text = show(result)
    except Exception as e:  # whatever it is, both clusters must say the same
        text = '%s %s: %s' % (type(e).__name__, getattr(e, 'errno', ''), plain(str(e)))
    print('%s %s -> %s' % (label, plain([a for a in args if not callable(a) and not hasattr(a, 'close') and not hasattr(a, 'shutdown')]), text), flush=True)
    return result


def quiet(_):
    return 'done'


def fields(*keys):
    """Show only these of a dictionary, and the names of all."""
    return lambda d: plain({k: d[k] for k in keys}) + ' of ' + plain(sorted(d))


def ping(mon):
    """What ping_monitor answers, from a process of its own: it crashes now and then in 16.2."""
    program = 'import json, rados, sys; c = rados.Rados(conffile=sys.argv[1]); c.connect(); print(sorted(json.loads(c.ping_monitor(sys.argv[2]))))'
    for _ in range(9):
        done = subprocess.run([sys.executable, '-c', program, conf, mon], capture_output=True, text=True)
        if done.returncode >= 0:
            return (done.stdout + done.stderr).strip().split('\n')[-1]
    return 'always crashes'


def cluster_calls(c):
    call('fsid', c.get_fsid)
    call('instance', c.get_instance_id, show=quiet)
    call('pools', lambda: POOL in c.list_pools())
    call('stats', c.get_cluster_stats, show=lambda d: plain(sorted(d)))
    call('create_pool', c.create_pool, POOL + '-other')
    call('create_pool', c.create_pool, POOL + '-other')
    call('pool_exists', c.pool_exists, POOL + '-other')
    call('pool_exists', c.pool_exists, 'none')
    call('pool_lookup', c.pool_lookup, 'none')
    call('pool_reverse_lookup', lambda: c.pool_reverse_lookup(c.pool_lookup(POOL)))
    call('base_tier', lambda: c.get_pool_base_tier(c.pool_lookup(POOL)) == c.pool_lookup(POOL))
    call('delete_pool', c.delete_pool, POOL + '-other')
    call('delete_pool', c.delete_pool, POOL + '-other')
    call('open_ioctx', c.open_ioctx, 'none')
    call('open_ioctx2', c.open_ioctx2, 999)
    call('wait_for_latest_osdmap', c.wait_for_latest_osdmap)
    call('ping_monitor', ping, 'a')
    call('ping_monitor', ping, 'nobody')
    call('inconsistent', c.get_inconsistent_pgs, POOL)
    call('conf_get', c.conf_get, 'none')
    call('conf_set', c.conf_set, 'rados_osd_op_timeout', '0')
    call('blocklist_add', c.blocklist_add, '127.0.0.9:0/77', 10)
    call('blocklist_add', c.blocklist_add, 'nonsense', 10)

    def command(prefix, **kw):
        return json.dumps(dict(prefix=prefix, **kw))

    def answer(keys=True):
        def show(r):
            out = r[1]
            if keys and out.strip():
                try:
                    d = json.loads(out)
                    # Managers make pools of their own, which are not here.
                    out = [k for k in sorted(d) if k not in ('.mgr', 'device_health_metrics')] if isinstance(d, dict) else type(d).__name__
                except ValueError:
                    pass
            return plain([r[0], out, r[2]])
        return show

    for prefix, kw in [
            ('status', {}), ('health', {}), ('df', {}), ('osd dump', {}), ('osd tree', {}), ('mon dump', {}), ('mgr dump', {}), ('fs ls', {}), ('fs dump', {}),
            ('osd stat', {}), ('mon stat', {}), ('quorum_status', {}), ('osd lspools', {}), ('versions', {}), ('features', {}), ('osd df', {}), ('pg dump', {}),
            ('pg stat', {}), ('osd pool ls', {'detail': 'detail'}), ('osd pool get', {'pool': POOL, 'var': 'size'}), ('osd pool get', {'pool': POOL, 'var': 'all'}),
            ('osd map', {'pool': POOL, 'object': 'x'}), ('auth get', {'entity': 'client.admin'}), ('auth get', {'entity': 'client.nobody'}), ('auth ls', {}),
            ('osd pool application get', {}), ('osd blocklist ls', {}), ('config dump', {}), ('config-key ls', {}), ('node ls', {}), ('osd crush tree', {}),
            ('osd crush rule dump', {}), ('osd erasure-code-profile ls', {}), ('service dump', {}), ('mgr services', {}), ('mgr module ls', {}), ('time-sync-status', {}),
            ('osd getmaxosd', {}), ('osd metadata', {}), ('mon metadata', {}), ('mgr metadata', {}), ('osd utilization', {}), ('osd perf', {}), ('osd blocked-by', {}),
            ('osd pool stats', {}), ('df', {'detail': 'detail'}), ('health', {'detail': 'detail'}), ('log last', {}), ('report', {}), ('mds stat', {}),
            ('config get', {'who': 'client', 'key': 'rbd_cache'}), ('config-key get', {'key': 'none'}), ('config-key exists', {'key': 'none'})]:
        call('mon ' + prefix, lambda: c.mon_command(command(prefix, format='json', **kw), b''), show=answer())
    call('mon command unknown', c.mon_command, command('no such thing'), b'')
    call('mon command broken', c.mon_command, '{"prefix"', b'')
    call('mon command without prefix', c.mon_command, '{}', b'')
    call('mon command, argument missing', c.mon_command, command('osd pool get', pool=POOL), b'')
    call('mon command, argument wrong', c.mon_command, command('osd pool get', pool=POOL, var='nonsense'), b'')
    call('mon pool get, no pool', c.mon_command, command('osd pool get', pool='none', var='size'), b'')
    call('mon config-key set', c.mon_command, command('config-key set', key='py', val='v'), b'')
    call('mon config-key get', c.mon_command, command('config-key get', key='py'), b'')
    call('mon config-key rm', c.mon_command, command('config-key rm', key='py'), b'')
    call('mon auth add', c.mon_command, command('auth get-or-create', entity='client.py', caps=['mon', 'allow r']), b'', show=lambda r: plain([r[0], r[2]]))
    call('mon auth caps', c.mon_command, command('auth caps', entity='client.py', caps=['mon', 'profile rbd', 'osd', 'nonsense']), b'')
    call('mon auth caps', c.mon_command, command('auth caps', entity='client.py', caps=['mon', 'profile rbd', 'osd', 'profile rbd']), b'')
    call('mon auth mismatch', c.mon_command, command('auth get-or-create', entity='client.py', caps=['mon', 'allow r']), b'')
    call('mon auth rm', c.mon_command, command('auth rm', entity='client.py'), b'')
    call('mon config set', c.mon_command, command('config set', who='client.py', name='rbd_cache', value='false'), b'')
    call('mon config set', c.mon_command, command('config set', who='client.py', name='no_such_option', value='false'), b'')
    call('mon config set', c.mon_command, command('config set', who='client.py', name='rbd_cache', value='perhaps'), b'')
    call('mon config get', c.mon_command, command('config get', who='client.py', key='rbd_cache'), b'')
    call('mon config rm', c.mon_command, command('config rm', who='client.py', name='rbd_cache'), b'')
    call('mgr unknown', c.mgr_command, command('no such thing'), b'', show=lambda r: plain(r[0]))
    call('mgr task list', c.mgr_command, command('rbd task list'), b'')
    call('osd unknown', c.osd_command, 0, command('no such thing'), b'')
    call('osd version', c.osd_command, 0, command('version', format='json'), b'', show=answer())
    call('osd perf dump', c.osd_command, 0, command('config get', var='osd_max_backfills'), b'', show=lambda r: plain(r[0]))
    call('osd 99', c.osd_command, 99, command('version'), b'')
    call('pg query', lambda: c.pg_command('%d.0' % c.pool_lookup(POOL), command('query'), b''), show=answer())
    call('pg of no pool', c.pg_command, '999.0', command('query'), b'')


def object_calls(io):
    call('pool', lambda: [io.get_pool_name(), io.get_pool_id() > 0])
    call('stats', io.get_stats, show=lambda d: plain(sorted(d)))
    call('alignment', io.alignment)
    call('write', io.write, 'a', b'hello world', 4)
    call('read', io.read, 'a', 100)
    call('read at', io.read, 'a', 4, 6)
    call('read beyond', io.read, 'a', 4, 600)
    call('read none', io.read, 'none')
    call('write_full', io.write_full, 'a', b'full')
    call('append', io.append, 'a', b' and more')
    call('trunc', io.trunc, 'a', 6)
    call('trunc longer', io.trunc, 'a', 9)
    call('read', io.read, 'a')
    call('trunc none', io.trunc, 'none', 6)
    call('stat', io.stat, 'a', show=lambda s: plain(s[0]))
    call('stat none', io.stat, 'none')
    call('writesame', io.writesame, 'same', b'ab', 8, 4)
    call('writesame uneven', io.writesame, 'same', b'abc', 8, 4)
    call('read', io.read, 'same')
    call('cmpext', io.cmpext, 'same', b'abab', 4)
    call('cmpext differs', io.cmpext, 'same', b'abzb', 4)
    call('cmpext none', io.cmpext, 'none', b'\0\0')
    call('set_xattr', io.set_xattr, 'a', 'k', b'v')
    call('set_xattr', io.set_xattr, 'a', 'l', b'')
    call('get_xattr', io.get_xattr, 'a', 'k')
    call('get_xattr none', io.get_xattr, 'a', 'none')
    call('get_xattrs', lambda: sorted(io.get_xattrs('a')))
    call('rm_xattr', io.rm_xattr, 'a', 'k')
    call('rm_xattr none', io.rm_xattr, 'a', 'none')
    call('xattr too long', io.set_xattr, 'a', 'n' * 300, b'v')
    call('name too long', io.write, 'o' * 4000, b'v')
    call('too big', io.write, 'a', b'v', 1 << 40)
    call('version', lambda: io.get_last_version() > 0)
    for o in range(20):
        io.write_full('list%d' % o, b'x')
    call('list', lambda: sorted(o.key for o in io.list_objects()))
    io.set_namespace('space')
    call('namespace', io.get_namespace)
    call('read elsewhere', io.read, 'a')
    call('write in namespace', io.write_full, 'inside', b'x')
    call('list', lambda: sorted((o.nspace, o.key) for o in io.list_objects()))
    io.set_namespace(rados.LIBRADOS_ALL_NSPACES)
    call('list all', lambda: len(list(io.list_objects())))
    io.set_namespace('')
    io.set_locator_key('locator')
    call('locator', io.get_locator_key)
    call('write with locator', io.write_full, 'located', b'x')
    call('list', lambda: sorted(o.key for o in io.list_objects() if o.key == 'located'))
    io.set_locator_key('')
    call('read without locator', io.read, 'located')
    call('remove', io.remove_object, 'a')
    call('remove none', io.remove_object, 'a')


def omap_calls(io):
    keys = tuple('k%02d' % i for i in range(10))
    with rados.WriteOpCtx() as op:
        io.set_omap(op, keys, tuple(k.encode() for k in keys))
        op.new(0)
        call('operate', io.operate_write_op, op, 'omap')
    with rados.ReadOpCtx() as op:
        vals, r = io.get_omap_vals(op, 'k03', 'k', 4)
        vals2, r2 = io.get_omap_keys(op, '', 3)
        vals3, r3 = io.get_omap_vals_by_keys(op, ('k01', 'none'))
        call('operate', io.operate_read_op, op, 'omap')
        call('omap', lambda: [r, list(vals), r2, list(vals2), r3, list(vals3)])
    with rados.ReadOpCtx() as op:
        vals, r = io.get_omap_vals(op, '', '', 4)
        call('operate none', io.operate_read_op, op, 'none')
    with rados.WriteOpCtx() as op:
        io.remove_omap_keys(op, ('k01', 'none'))
        call('operate', io.operate_write_op, op, 'omap')
    if hasattr(io, 'remove_omap_range2'):
        with rados.WriteOpCtx() as op:
            io.remove_omap_range2(op, 'k04', 'k06')
            call('operate', io.operate_write_op, op, 'omap')
    with rados.ReadOpCtx() as op:
        vals, r = io.get_omap_keys(op, '', 30)
        io.operate_read_op(op, 'omap')
        call('omap', lambda: list(vals))
    with rados.WriteOpCtx() as op:
        io.clear_omap(op)
        op.write_full(b'data')
        op.append(b'more')
        op.set_xattr('k', b'v')
        op.truncate(6)
        op.zero(1, 2)
        call('operate', io.operate_write_op, op, 'omap')
    call('read', io.read, 'omap')
    for what, edit in [('cmpext', lambda op: op.cmpext(b'nonsense', 0)), ('exclusive', lambda op: op.new(rados.LIBRADOS_CREATE_EXCLUSIVE)),
                       ('version', lambda op: op.assert_version(1 << 40)), ('old version', lambda op: op.assert_version(1)),
                       ('remove', lambda op: op.remove()), ('exists', lambda op: op.assert_exists()),
                       ('writesame', lambda op: op.writesame(b'ab', 6, 2)), ('execute', lambda op: op.execute('hello', 'record_hello', b'me')),
                       ('execute none', lambda op: op.execute('hello', 'none', b'me')), ('rm_xattr', lambda op: op.rm_xattr('none'))]:
        with rados.WriteOpCtx() as op:
            call('op ' + what, lambda: edit(op) or io.operate_write_op(op, 'omap'))
    with rados.ReadOpCtx() as op:
        try:
            op.cmpext(b'\0\0ab', 0)
            call('op cmpext', io.operate_read_op, op, 'omap')
        except AttributeError:
            pass
    call('execute', io.execute, 'omap', 'hello', 'say_hello', b'you')
    call('execute no method', io.execute, 'omap', 'hello', 'none', b'')
    call('execute no class', io.execute, 'omap', 'none', 'none', b'')


def snapshot_calls(io):
    io.write_full('s', b'one')
    call('create_snap', io.create_snap, 'first')
    call('create_snap', io.create_snap, 'first')
    io.write_full('s', b'two')
    call('list_snaps', lambda: [s.name for s in io.list_snaps()])
    snap = call('lookup_snap', io.lookup_snap, 'first', show=quiet)
    call('lookup_snap none', io.lookup_snap, 'none')
    io.set_read(snap.snap_id)
    call('read snap', io.read, 's')
    io.set_read(rados.LIBRADOS_SNAP_HEAD)
    call('rollback', io.snap_rollback, 's', 'first')
    call('rollback none', io.snap_rollback, 's', 'none')
    call('read', io.read, 's')
    call('self managed', io.create_self_managed_snap)
    call('remove_snap', io.remove_snap, 'first')
    call('remove_snap', io.remove_snap, 'first')


def self_managed_calls(io):
    io.write_full('m', b'one')
    s1 = call('self managed', io.create_self_managed_snap, show=quiet)
    io.set_self_managed_snap_write([s1])
    io.write_full('m', b'two')
    s2 = io.create_self_managed_snap()
    io.set_self_managed_snap_write([s2, s1])
    io.append('m', b' three')
    call('create_snap', io.create_snap, 'pool')
    for s in (s1, s2):
        io.set_read(s)
        call('read snap', io.read, 'm')
    io.set_read(rados.LIBRADOS_SNAP_HEAD)
    call('rollback', lambda: io.rollback_self_managed_snap('m', s1))
    call('read', io.read, 'm')
    call('remove snap', lambda: io.remove_self_managed_snap(s1))
    call('remove snap again', lambda: io.remove_self_managed_snap(s1))
    io.set_self_managed_snap_write([])


def async_calls(io):
    def wait(label, f, *args, **kw):
        got = []

        def done(completion, *more):
            got.append(plain(more))
        def run():
            comp = f(*args, done, **kw)
            comp.wait_for_complete_and_cb()
            return [comp.get_return_value(), got]
        call('aio ' + label, run)

    wait('write', io.aio_write, 'aio', b'data', 0)
    wait('append', io.aio_append, 'aio', b'more')
    wait('read', io.aio_read, 'aio', 100, 0)
    wait('stat none', io.aio_stat, 'none')
    wait('write_full', io.aio_write_full, 'aio', b'full')
    wait('writesame', io.aio_writesame, 'aio', b'xy', 4, 0)
    wait('cmpext', lambda cb: io.aio_cmpext('aio', b'zz', 0, cb))
    wait('execute', lambda cb: io.aio_execute('aio', 'hello', 'say_hello', b'aio', 100, cb, None))
    wait('setxattr', io.aio_setxattr, 'aio', 'k', b'v')
    wait('rmxattr', io.aio_rmxattr, 'aio', 'k')
    wait('remove', io.aio_remove, 'aio')
    wait('remove none', io.aio_remove, 'aio')
    call('aio_flush', io.aio_flush)
    call('lock', io.lock_exclusive, 'aio', 'lock', 'cookie', 'me', 30)
    call('lock again', io.lock_exclusive, 'aio', 'lock', 'cookie', 'me', 30)
    call('lock other', io.lock_exclusive, 'aio', 'lock', 'other', 'me', 30)
    call('lock shared', io.lock_shared, 'aio', 'lock', 'other', 'tag', 'me', 30)
    call('unlock other', io.unlock, 'aio', 'lock', 'other')
    call('unlock', io.unlock, 'aio', 'lock', 'cookie')
    call('lock shared', io.lock_shared, 'aio', 'lock', 'other', 'tag', 'me', 30)
    call('lock other tag', io.lock_shared, 'aio', 'lock', 'third', 'tag2', 'me', 30)
    call('unlock', io.unlock, 'aio', 'lock', 'other')
    io.write_full('w', b'')
    heard = []
    watch = call('watch', io.watch, 'w', lambda nid, by, wid, data: heard.append(data), lambda *a: None, None, show=quiet)
    call('notify', lambda: [io.notify('w', 'message', 5000), heard])
    call('watch check', lambda: watch.check().total_seconds() >= 0 if hasattr(watch, 'check') else None)
    call('watch close', watch.close)
    call('notify nobody', io.notify, 'w', 'message', 5000)
    call('notify none', io.notify, 'none', 'message', 5000)
    call('watch none', io.watch, 'none', lambda *a: None)


def application_calls(io):
    call('application_list', lambda: sorted(io.application_list()))
    call('application_enable', io.application_enable, 'rbd')
    call('application_enable second', io.application_enable, 'other')
    call('metadata_set', io.application_metadata_set, 'rbd', 'k', 'v')
    call('metadata_set none', io.application_metadata_set, 'none', 'k', 'v')
    call('metadata_list', io.application_metadata_list, 'rbd')
    call('metadata_list none', io.application_metadata_list, 'none')
    call('metadata_get', io.application_metadata_get, 'rbd', 'k')
    call('metadata_get none', io.application_metadata_get, 'rbd', 'none')
    call('metadata_remove', io.application_metadata_remove, 'rbd', 'k')


def pool_calls(r, io):
    call('pool_init', r.pool_init, io, False)
    call('pool_init', lambda: r.pool_init(io, True))
    call('list', r.list, io)
    call('pool_metadata_set', r.pool_metadata_set, io, 'k', 'v')
    call('pool_metadata_get', r.pool_metadata_get, io, 'k')
    call('pool_metadata_get', r.pool_metadata_get, io, 'none')
    call('pool_metadata_list', lambda: list(r.pool_metadata_list(io)))
    call('pool_metadata_remove', r.pool_metadata_remove, io, 'k')
    call('config_set', r.config_set, io, 'rbd_cache', 'false')
    call('config_set', r.config_set, io, 'no_such_option', 'false')
    call('config_set', r.config_set, io, 'rbd_cache', 'perhaps')
    call('config_get', r.config_get, io, 'rbd_cache')
    call('config_list', lambda: [x for x in r.config_list(io) if x['name'] == 'rbd_cache'])
    call('config_remove', r.config_remove, io, 'rbd_cache')
    call('namespace_create', r.namespace_create, io, 'n')
    call('namespace_create', r.namespace_create, io, 'n')
    call('namespace_exists', r.namespace_exists, io, 'n')
    call('namespace_list', r.namespace_list, io)
    call('namespace_remove', r.namespace_remove, io, 'n')
    call('namespace_remove', r.namespace_remove, io, 'n')
    call('create', r.create, io, 'small', 1 << 20)
    call('create again', r.create, io, 'small', 1 << 20)
    call('create bad', r.create, io, 'bad', 1 << 20, 9)
    call('create bad', r.create, io, 'bad', 1 << 20, features=1 << 40)
    call('create bad', r.create, io, '', 1 << 20)
    call('create bad', r.create, io, 'a/b', 1 << 20)
    call('create striped', r.create, io, 'striped', 1 << 20, 16, features=1, stripe_unit=4096, stripe_count=4)
    call('create data pool', r.create, io, 'bad', 1 << 20, data_pool='none')
    call('create old', r.create, io, 'old', 1 << 20, old_format=True)
    call('rename', r.rename, io, 'small', 'other')
    call('rename none', r.rename, io, 'small', 'other')
    call('rename to itself', r.rename, io, 'other', 'other')
    call('list', lambda: sorted(r.list(io)))
    call('list2', lambda: sorted(r.list2(io), key=lambda x: x['name']), show=lambda l: plain([x['name'] for x in l]))
    call('stats', r.pool_stats_get, io)
    call('remove', r.remove, io, 'other')
    call('remove', r.remove, io, 'other')
    call('remove', r.remove, io, 'old')
    call('remove', r.remove, io, 'striped')
    call('open none', rbd.Image, io, 'none')


def clone_any(r, io, parent, snap, name, fmt):
    """A clone of that format, also with bindings that cannot say which."""
    CLUSTER.conf_set('rbd_default_clone_format', str(fmt))
    r.clone(io, parent, snap, io, name, features=FEATURES)
    CLUSTER.conf_set('rbd_default_clone_format', 'auto')


FEATURES = rbd.RBD_FEATURE_LAYERING | rbd.RBD_FEATURE_EXCLUSIVE_LOCK | rbd.RBD_FEATURE_OBJECT_MAP | rbd.RBD_FEATURE_FAST_DIFF | rbd.RBD_FEATURE_DEEP_FLATTEN


def image_calls(r, io):
    r.create(io, 'i', 16 << 20, 20, False, FEATURES)
    with rbd.Image(io, 'i') as i:
        for f in ('size', 'features', 'flags', 'op_features', 'old_format', 'overlap', 'stripe_unit', 'stripe_count', 'get_name', 'create_timestamp',
                  'access_timestamp', 'modify_timestamp', 'get_snap_limit', 'group', 'list_lockers', 'is_exclusive_lock_owner'):
            call(f, getattr(i, f))
        call('stat', i.stat, show=lambda d: plain({k: v for k, v in d.items() if k not in ('parent_pool',)}))
        call('id', i.id, show=quiet)
        call('data_pool_id', lambda: i.data_pool_id() == io.get_pool_id())
        call('parent_info', i.parent_info)
        call('write', i.write, b'x' * 8192, 4096)
        call('write end', i.write, b'x' * 8192, (16 << 20) - 4096)
        call('write beyond', i.write, b'x', 16 << 20)
        call('read', i.read, 0, 16384)
        call('read end', i.read, (16 << 20) - 10, 100)
        call('read beyond', i.read, 17 << 20, 100)
        call('discard', i.discard, 4096, 4096)
        call('write_zeroes', i.write_zeroes, 0, 4096)
        call('flush', i.flush)
        call('resize', i.resize, 20 << 20)
        call('resize', i.resize, 8 << 20, False)
        call('size', i.size)
        call('is owner', i.is_exclusive_lock_owner)
        call('owners', i.lock_get_owners, show=lambda l: plain([x['mode'] for x in l]))
        call('watchers', i.watchers_list, show=lambda l: len(list(l)))
        call('create_snap', i.create_snap, 's1')
        call('create_snap', i.create_snap, 's1')
        call('write', i.write, b'y' * 4096, 8192)
        call('write', i.write, b'y' * 4096, 3 << 20)
        call('create_snap', i.create_snap, 's2')
        call('list_snaps', lambda: [(s['name'], s['size'], s['namespace']) for s in i.list_snaps()])
        call('snap_exists', i.snap_exists, 's1')
        call('snap_get_name', lambda: i.snap_get_name(i.snap_get_id('s1')))
        call('snap_get_id none', i.snap_get_id, 'none')
        call('snap_get_name none', i.snap_get_name, 999)
        call('snap timestamp', lambda: i.get_snap_timestamp(i.snap_get_id('s1')))
        call('snap namespace', lambda: i.snap_get_namespace_type(i.snap_get_id('s1')))
        call('snap group namespace', lambda: i.snap_get_group_namespace(i.snap_get_id('s1')))
        call('snap mirror namespace', lambda: i.snap_get_mirror_namespace(i.snap_get_id('s1')))
        call('snap trash namespace', lambda: i.snap_get_trash_namespace(i.snap_get_id('s1')))
        for args in ((0, 8 << 20, None), (0, 8 << 20, 's1'), (0, 8 << 20, 'none')):
            found = []
            call('diff', lambda: i.diff_iterate(*args, lambda o, n, e: found.append((o, n, e))))
            print('   ', found)
        found = []
        call('diff of objects', lambda: i.diff_iterate(0, 8 << 20, 's1', lambda o, n, e: found.append((o, n, e)), True, True))
        print('   ', found)
        call('protect', i.protect_snap, 's1')
        call('protect', i.protect_snap, 's1')
        call('is protected', i.is_protected_snap, 's1')
        call('remove protected', i.remove_snap, 's1')
        call('unprotect', i.unprotect_snap, 's1')
        call('unprotect', i.unprotect_snap, 's1')
        call('rename_snap', i.rename_snap, 's2', 's3')
        call('rename_snap', i.rename_snap, 's3', 's1')
        call('set_snap_limit', i.set_snap_limit, 2)
        call('get_snap_limit', i.get_snap_limit)
        call('create_snap over limit', i.create_snap, 's4')
        call('remove_snap_limit', i.remove_snap_limit)
        call('get_snap_limit', i.get_snap_limit)
        call('rollback', i.rollback_to_snap, 's1')
        call('rollback none', i.rollback_to_snap, 'none')
        call('read', i.read, 8192, 4096)
        call('set_snap', i.set_snap, 's3')
        call('read', i.read, 8192, 4096)
        call('write to snap', i.write, b'z', 0)
        call('set_snap', i.set_snap, None)
        call('metadata_set', i.metadata_set, 'k', 'v')
        call('metadata_get', i.metadata_get, 'k')
        call('metadata_get none', i.metadata_get, 'none')
        call('metadata_list', lambda: list(i.metadata_list()))
        call('metadata_remove', i.metadata_remove, 'k')
        call('metadata_remove', i.metadata_remove, 'k')
        call('config_set', i.config_set, 'rbd_cache', 'false')
        call('config_get', i.config_get, 'rbd_cache')
        call('config_remove', i.config_remove, 'rbd_cache')
        call('update_features', i.update_features, rbd.RBD_FEATURE_FAST_DIFF, False)
        call('update_features', i.update_features, rbd.RBD_FEATURE_JOURNALING, True)
        call('update_features', i.update_features, rbd.RBD_FEATURE_STRIPINGV2, True)
        call('update_features', i.update_features, rbd.RBD_FEATURE_LAYERING, False)
        call('update_features', i.update_features, rbd.RBD_FEATURE_DEEP_FLATTEN, True)
        call('update_features', i.update_features, rbd.RBD_FEATURE_EXCLUSIVE_LOCK, False)
        call('features', i.features)
        call('write journaled', i.write, b'j' * 100, 0)
        call('update_features', i.update_features, rbd.RBD_FEATURE_JOURNALING, False)
        call('update_features', i.update_features, rbd.RBD_FEATURE_FAST_DIFF, True)
        call('flags', i.flags)
        call('rebuild_object_map', i.rebuild_object_map)
        call('flags', i.flags)
        call('sparsify', i.sparsify, 4096)
        call('sparsify', i.sparsify, 4097)
        call('encryption_load', i.encryption_load, rbd.RBD_ENCRYPTION_FORMAT_LUKS2, 'secret')
        call('lock_acquire', i.lock_acquire, rbd.RBD_LOCK_MODE_EXCLUSIVE)
        with rbd.Image(io, 'i') as j:
            call('lock_acquire other', j.lock_acquire, rbd.RBD_LOCK_MODE_EXCLUSIVE)
            call('is owner other', j.is_exclusive_lock_owner)
            call('owners of other', j.lock_get_owners, show=lambda l: plain([x['mode'] for x in l]))
            call('create_snap of other', j.create_snap, 'remote')
            call('resize of other', j.resize, 9 << 20)
            call('remove_snap of other', j.remove_snap, 'remote')
            call('flatten of other', j.flatten)
        call('lock_release', i.lock_release)
        call('lock_exclusive', i.lock_exclusive, 'cookie')
        call('lock_shared', i.lock_shared, 'cookie', 'tag')
        call('unlock', i.unlock, 'cookie')
        call('unlock none', i.unlock, 'nothing')
        call('lock_shared', i.lock_shared, 'cookie', 'tag')
        call('lockers', i.list_lockers, show=lambda d: plain([d['tag'], d['exclusive'], len(d['lockers'])]))
        call('break_lock', lambda: i.break_lock('client.1', 'nothing'))
        call('unlock', i.unlock, 'cookie')
        call('remove open', r.remove, io, 'i')
        got = threading.Event()
        comp = i.aio_read(0, 10, lambda c, d: got.set())
        call('aio_read', lambda: [comp.wait_for_complete_and_cb(), comp.get_return_value(), got.is_set()])
        comp2 = i.aio_write(b'z' * 10, 0, lambda c: None)
        call('aio_write', lambda: [comp2.wait_for_complete_and_cb(), comp2.get_return_value()])
        comp3 = i.aio_discard(0, 4096, lambda c: None)
        call('aio_discard', lambda: [comp3.wait_for_complete_and_cb(), comp3.get_return_value()])
        comp4 = i.aio_flush(lambda c: None)
        call('aio_flush', lambda: [comp4.wait_for_complete_and_cb(), comp4.get_return_value()])


def clone_calls(r, io):
    with rbd.Image(io, 'i') as i:
        call('clone unprotected', lambda: clone_any(r, io, 'i', 's1', 'kid1', 1))
        i.protect_snap('s1')
        call('clone 1', lambda: clone_any(r, io, 'i', 's1', 'kid1', 1))
        call('clone 2', lambda: clone_any(r, io, 'i', 's1', 'kid2', 2))
        call('clone again', lambda: r.clone(io, 'i', 's1', io, 'kid2'))
        call('clone none', lambda: r.clone(io, 'i', 'none', io, 'kid3'))
        call('children', lambda: [i.set_snap('s1'), sorted(i.list_children()), sorted(c['image'] for c in i.list_children2()),
                                  sorted(c['image'] for c in i.list_descendants())])
        i.set_snap(None)
        call('unprotect', i.unprotect_snap, 's1')
        call('remove parent', r.remove, io, 'i')
        with rbd.Image(io, 'kid1') as k:
            call('parent_info', k.parent_info)
            call('parent spec', k.get_parent_image_spec, show=lambda d: plain([d['image_name'], d['snap_name']]))
            call('overlap', k.overlap)
            call('read', k.read, 8192, 4096)
            call('write', k.write, b'kid', 8192)
            call('resize', k.resize, 1 << 20)
            call('overlap', k.overlap)
            call('flatten', k.flatten)
            call('flatten', k.flatten)
            call('parent_info', k.parent_info)
        with rbd.Image(io, 'kid2') as k:
            found = []
            call('diff', lambda: k.diff_iterate(0, k.size(), None, lambda o, n, e: found.append((o, n, e))))
            print('   ', found)
            call('op_features', k.op_features)
        call('op_features', i.op_features)
        call('remove snap with child', i.remove_snap, 's1')
        call('remove_snap2', lambda: i.remove_snap2('s3', rbd.RBD_SNAP_REMOVE_FORCE))
        call('copy', lambda: i.copy(io, 'copied'))
        call('deep_copy', lambda: i.deep_copy(io, 'deep', features=FEATURES))
    call('remove clone', r.remove, io, 'kid2')
    call('remove clone', r.remove, io, 'kid1')
    with rbd.Image(io, 'i') as i:
        call('unprotect', i.unprotect_snap, 's1')
        call('remove_snap', i.remove_snap, 's1')
        call('snaps', lambda: [(s['name'], s['namespace']) for s in i.list_snaps()])
    with rbd.Image(io, 'deep') as d:
        call('snaps', lambda: [(s['name'], s['size']) for s in d.list_snaps()])
        for s in list(d.list_snaps()):
            if d.is_protected_snap(s['name']):
                d.unprotect_snap(s['name'])
            d.remove_snap(s['name'])


def trash_calls(r, io):
    r.create(io, 't', 1 << 20, features=FEATURES)
    call('trash_move', r.trash_move, io, 't', 0)
    call('trash_move', r.trash_move, io, 't', 0)
    t = call('trash_list', lambda: list(r.trash_list(io)), show=lambda l: plain([(x['name'], x['source']) for x in l]))
    call('trash_get', lambda: r.trash_get(io, t[0]['id'])['name'])
    call('trash_get none', r.trash_get, io, 'none')
    call('trash_restore', lambda: r.trash_restore(io, t[0]['id'], 'back'))
    call('trash_restore none', lambda: r.trash_restore(io, 'none', 'back'))
    call('trash_move', r.trash_move, io, 'back', 3600)
    call('trash_remove', lambda: r.trash_remove(io, t[0]['id']))
    call('trash_purge', lambda: r.trash_purge(io, datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)))
    call('trash_list', lambda: len(list(r.trash_list(io))))
    call('trash_remove', lambda: r.trash_remove(io, t[0]['id'], True))
    call('trash_remove', lambda: r.trash_remove(io, t[0]['id'], True))


def group_calls(r, io):
    call('group_create', r.group_create, io, 'g')
    call('group_create', r.group_create, io, 'g')
    call('group_list', r.group_list, io)
    call('group_rename', r.group_rename, io, 'g', 'h')
    call('group_rename', r.group_rename, io, 'g', 'h')
    r.create(io, 'gi', 4 << 20, features=FEATURES)
    g = rbd.Group(io, 'h')
    call('add_image', lambda: g.add_image(io, 'gi'))
    call('add_image', lambda: g.add_image(io, 'gi'))
    call('add_image', lambda: g.add_image(io, 'none'))
    call('list_images', lambda: [(x['name'], x['state']) for x in g.list_images()])
    with rbd.Image(io, 'gi') as i:
        call('group', i.group, show=lambda d: plain(d['name']))
        i.write(b'g' * 100, 0)
    call('remove member', r.remove, io, 'gi')
    call('create_snap', g.create_snap, 's')
    call('create_snap', g.create_snap, 's')
    call('list_snaps', lambda: [(x['name'], x['state']) for x in g.list_snaps()])
    call('rename_snap', lambda: g.rename_snap('s', 't'))
    with rbd.Image(io, 'gi') as i:
        i.write(b'h' * 100, 0)
    call('rollback', lambda: g.rollback_to_snap('t'))
    call('rollback none', lambda: g.rollback_to_snap('none'))
    with rbd.Image(io, 'gi') as i:
        call('read', i.read, 0, 100)
        call('snaps', lambda: [s['namespace'] for s in i.list_snaps()])
    call('remove_snap', g.remove_snap, 't')
    call('remove_snap', g.remove_snap, 't')
    call('remove_image', lambda: g.remove_image(io, 'gi'))
    call('remove_image', lambda: g.remove_image(io, 'gi'))
    call('group_remove', r.group_remove, io, 'h')
    call('group_remove', r.group_remove, io, 'h')
    r.remove(io, 'gi')


def migration_calls(r, io):
    r.create(io, 'm', 4 << 20, features=FEATURES)
    with rbd.Image(io, 'm') as i:
        i.write(b'm' * 5000, 100)
        i.create_snap('s')
    call('prepare', lambda: r.migration_prepare(io, 'm', io, 'moved'))
    call('prepare', lambda: r.migration_prepare(io, 'm', io, 'moved2'))
    call('status', lambda: r.migration_status(io, 'moved'), show=lambda d: plain([d['source_image_name'], d['dest_image_name'], d['state'], d['state_description']]))
    call('commit early', lambda: r.migration_commit(io, 'moved'))
    call('execute', lambda: r.migration_execute(io, 'moved'))
    call('commit', lambda: r.migration_commit(io, 'moved'))
    with rbd.Image(io, 'moved') as i:
        call('read', i.read, 0, 6000)
        call('snaps', lambda: [s['name'] for s in i.list_snaps()])
    call('status none', lambda: r.migration_status(io, 'moved'))
    call('prepare', lambda: r.migration_prepare(io, 'moved', io, 'again'))
    call('abort', lambda: r.migration_abort(io, 'again'))
    with rbd.Image(io, 'moved') as i:
        i.remove_snap('s')
    r.remove(io, 'moved')


def task_calls(c, r, io):
    """Tasks of the manager, to their end, and what has become of the images."""
    def task(what, name, arg='image_spec'):
        def add():
            code, out, status = c.mgr_command(json.dumps({'prefix': 'rbd task add ' + what, arg: '%s/%s' % (POOL + '2', name)}), b'')
            return code, json.loads(out)['message'] if code == 0 else plain(out), status
        call('task', lambda: (what, name) + add())
        for _ in range(200):
            code, out, _ = c.mgr_command(json.dumps({'prefix': 'rbd task list'}), b'')
            if code or json.loads(out) == []:
                return
            time.sleep(0.1)
        call('unfinished', lambda: [t.get('retry_message') for t in json.loads(out)])

    def look(name, extents=True):
        """All of an image and of its snapshots, and whether its maps are right. Which zeros
        a copy of a clone has written, and which it left out, is not compared."""
        with rbd.Image(io, name) as i:
            call('look', lambda: [name, i.size(), i.read(0, i.size()), [s['name'] for s in i.list_snaps()], i.flags() if i.features() & rbd.RBD_FEATURE_OBJECT_MAP else 0])
            if extents:
                found = []
                i.diff_iterate(0, i.size(), None, lambda *e: found.append(e))
                call('diff', lambda: found)
            for snap in [s['name'] for s in i.list_snaps()]:
                with rbd.Image(io, name, snapshot=snap) as s:
                    call('look', lambda: [name, snap, s.size(), s.read(0, s.size())])

    def write(name):
        with rbd.Image(io, name) as i:
            i.write(b'first' * 3000, 1 << 20)
            i.create_snap('one')
            i.resize(5 << 20)
            i.write(b'second' * 5000, (4 << 20) + 777)
            i.discard(1 << 20, 4096)
            i.create_snap('two')
            i.resize(4 << 20)
            i.write(b'third', 3 << 20)

    r.create(io, 'tm', 4 << 20, order=20, features=FEATURES)
    write('tm')
    for moved in [dict(order=20), dict(order=21, stripe_unit=65536, stripe_count=2)]:
        call('prepare', lambda: r.migration_prepare(io, 'tm', io, 'moved', features=FEATURES, **moved))
        look('moved')
        task('migration commit', 'moved')
        task('migration abort', 'moved')
        look('tm')
        call('prepare', lambda: r.migration_prepare(io, 'tm', io, 'moved', features=FEATURES, **moved))
        with rbd.Image(io, 'moved') as i:
            i.write(b'meanwhile', (1 << 20) + 5)
            i.create_snap('three')
        task('migration execute', 'moved')
        task('migration execute', 'moved')
        look('moved')
        task('migration commit', 'moved')
        look('moved')
        call('trash', lambda: [t['name'] for t in r.trash_list(io)])
        with rbd.Image(io, 'moved') as i:
            i.remove_snap('three')
        r.rename(io, 'moved', 'tm')
    with rbd.Image(io, 'tm') as i:
        i.protect_snap('two')
    r.clone(io, 'tm', 'two', io, 'child', features=FEATURES)
    write('child')
    look('child')
    for order in [20, 19]:
        call('prepare', lambda: r.migration_prepare(io, 'child', io, 'moved', features=FEATURES, order=order))
        task('migration execute', 'moved')
        task('migration commit', 'moved')
        look('moved', extents=False)
        with rbd.Image(io, 'moved') as i:
            call('parent', lambda: i.parent_info())
        r.rename(io, 'moved', 'child')
    task('flatten', 'child')
    r.clone(io, 'tm', 'two', io, 'second', features=FEATURES)
    task('flatten', 'second')
    look('second')
    task('remove', 'second')
    task('remove', 'child')
    with rbd.Image(io, 'child') as i:
        for s in list(i.list_snaps()):
            i.remove_snap(s['name'])
    r.trash_move(io, 'child')
    with rbd.Image(io, 'tm') as i:
        i.unprotect_snap('two')
        for s in list(i.list_snaps()):
            i.remove_snap(s['name'])
    task('remove', 'tm')
    task('trash remove', next((t['id'] for t in r.trash_list(io)), 'none'), 'image_id_spec')
    call('left', lambda: [i for i in r.list(io) if i in ('tm', 'child', 'second', 'moved')])


def mirror_calls(r, io):
    call('mode', r.mirror_mode_get, io)
    call('mode_set', r.mirror_mode_set, io, rbd.RBD_MIRROR_MODE_IMAGE)
    call('mode', r.mirror_mode_get, io)
    call('site_name_set', r.mirror_site_name_set, CLUSTER, 'site-x')
    call('site_name_get', r.mirror_site_name_get, CLUSTER)
    call('uuid', r.mirror_uuid_get, io)
    peer = call('peer_add', r.mirror_peer_add, io, 'site-y', 'client.y')
    call('peer_add', r.mirror_peer_add, io, 'site-y', 'client.y')
    call('peer_list', lambda: [(p['site_name'], p['client_name'], p['direction']) for p in r.mirror_peer_list(io)])
    call('peer attributes', lambda: r.mirror_peer_set_attributes(io, peer, {rbd.RBD_MIRROR_PEER_ATTRIBUTE_NAME_MON_HOST: 'h', rbd.RBD_MIRROR_PEER_ATTRIBUTE_NAME_KEY: 'k'}))
    call('peer attributes', lambda: r.mirror_peer_get_attributes(io, peer))
    call('peer attributes none', lambda: r.mirror_peer_get_attributes(io, 'none'))
    call('peer client', lambda: r.mirror_peer_set_client(io, peer, 'client.z'))
    call('peer name', lambda: r.mirror_peer_set_name(io, peer, 'site-z'))
    call('peer remove', lambda: r.mirror_peer_remove(io, 'none'))
    call('status list', lambda: list(r.mirror_image_status_list(io)))
    for mode, name in ((rbd.RBD_MIRROR_IMAGE_MODE_SNAPSHOT, 'ms'), (rbd.RBD_MIRROR_IMAGE_MODE_JOURNAL, 'mj')):
        r.create(io, name, 4 << 20, features=FEATURES)
        with rbd.Image(io, name) as i:
            call('status before', i.mirror_image_get_status)
            call('info before', i.mirror_image_get_info)
            call('enable', i.mirror_image_enable, mode)
            call('enable', i.mirror_image_enable, mode)
            call('info', i.mirror_image_get_info)
            call('get_mode', i.mirror_image_get_mode)
            call('status', i.mirror_image_get_status, show=lambda d: plain(sorted(d)))
            call('instance', i.mirror_image_get_instance_id)
            i.write(b'q' * 100, 0)
            call('snapshot', i.mirror_image_create_snapshot)
            call('promote', i.mirror_image_promote, False)
            call('demote', i.mirror_image_demote)
            call('write demoted', i.write, b'q', 0)
            call('promote', i.mirror_image_promote, False)
            call('resync', i.mirror_image_resync)
            call('snaps', lambda: [(s['namespace'], s.get('mirror', {}).get('state'), s.get('mirror', {}).get('complete')) for s in i.list_snaps()])
    call('summary', lambda: r.mirror_image_status_summary(io))
    call('info list', lambda: len(list(r.mirror_image_info_list(io, None))))
    call('instances', lambda: list(r.mirror_image_instance_id_list(io)))
    call('mode_set in use', r.mirror_mode_set, io, rbd.RBD_MIRROR_MODE_DISABLED)
    for name in ('ms', 'mj'):
        with rbd.Image(io, name) as i:
            call('disable', i.mirror_image_disable, False)
            call('disable', i.mirror_image_disable, False)
        call('remove', r.remove, io, name)
    call('peer_remove', lambda: r.mirror_peer_remove(io, peer))
    call('mode_set', r.mirror_mode_set, io, rbd.RBD_MIRROR_MODE_DISABLED)
    token = call('bootstrap', lambda: r.mirror_mode_set(io, rbd.RBD_MIRROR_MODE_POOL) or r.mirror_peer_bootstrap_create(io), show=quiet)
    call('bootstrap import of itself', lambda: r.mirror_peer_bootstrap_import(io, rbd.RBD_MIRROR_PEER_DIRECTION_RX, token))
    call('bootstrap import nonsense', lambda: r.mirror_peer_bootstrap_import(io, rbd.RBD_MIRROR_PEER_DIRECTION_RX, 'nonsense'))
    call('mode_set', r.mirror_mode_set, io, rbd.RBD_MIRROR_MODE_DISABLED)


def service_calls(c):
    with rados.Rados(conffile=conf) as d:
        call('service_daemon_register', d.service_daemon_register, 'py', 'one', {'k': 'v'})
        call('service_daemon_update', d.service_daemon_update, {'state': 'fine'})
        for _ in range(50):
            out = json.loads(c.mgr_command(json.dumps({'prefix': 'service status', 'format': 'json'}), b'')[1])
            if out.get('py', {}).get('one', {}).get('status'):
                break
            time.sleep(0.2)
        call('service status', lambda: out['py']['one']['status'])
        for _ in range(100):  # the manager tells the monitors every few seconds
            dump = json.loads(c.mgr_command(json.dumps({'prefix': 'service dump', 'format': 'json'}), b'')[1])
            if 'py' in dump['services']:
                break
            time.sleep(0.2)
        call('service dump', lambda: [dump['services']['py']['daemons']['one']['metadata']['k'], sorted(dump['services']['py']['daemons']['one'])])


def section(name, f, *args):
    only = os.environ.get('RBDM_SECTIONS')
    if only and name not in only.split(','):
        return
    print('==', name)
    try:
        f(*args)
    except Exception as e:
        print('section ended by %s %s' % (type(e).__name__, plain(str(e))))
        raise


CLUSTER = rados.Rados(conffile=conf)
CLUSTER.connect()
CLUSTER.create_pool(POOL)
CLUSTER.create_pool(POOL + '2')
names[CLUSTER.get_fsid()] = 'fsid'
section('cluster', cluster_calls, CLUSTER)
with CLUSTER.open_ioctx(POOL) as ctx:
    section('objects', object_calls, ctx)
    section('omap', omap_calls, ctx)
    section('asynchronous', async_calls, ctx)
    section('snapshots', snapshot_calls, ctx)
with CLUSTER.open_ioctx(POOL + '2') as ctx:
    section('self-managed snapshots', self_managed_calls, ctx)
    section('applications', application_calls, ctx)
    R = rbd.RBD()
    section('pool', pool_calls, R, ctx)
    section('image', image_calls, R, ctx)
    section('clone', clone_calls, R, ctx)
    section('trash', trash_calls, R, ctx)
    section('group', group_calls, R, ctx)
    section('migration', migration_calls, R, ctx)
    section('tasks', task_calls, CLUSTER, R, ctx)
    section('mirror', mirror_calls, R, ctx)
section('services', service_calls, CLUSTER)
CLUSTER.delete_pool(POOL)
CLUSTER.delete_pool(POOL + '2')
CLUSTER.shutdown()
