"""options.py FOLDER CONF16 CONF18 CONF20: ask the monitors of real clusters of the three
releases for their options and for the modules of their managers, and renew options.tsv
and modules.tsv in FOLDER. What options and modules are for, which Ceph tells in its own
words, is left out. The levels of the subsystems' logs, which monitors do not list, stay."""

import json
import sys

import rados


def ask(cluster, **command):
    _, out, _ = cluster.mon_command(json.dumps(dict(command, format='json')), b'')
    return json.loads(out)


def word(v):
    return json.dumps(v) if isinstance(v, (bool, list)) else str(v)


def option(d):
    flags = {'basic': 'b', 'dev': 'd', 'unknown': 'u'}.get(d['level'], '') + ('' if d['can_update_at_runtime'] else '*')
    return (d['type'], word(d['default']).replace('\t', ' '), flags, word(d['daemon_default']), ','.join(d['services']), ','.join(d['see_also']),
            ','.join(d['tags']), word(d['min']), word(d['max']), ','.join(d['flags']), ','.join(d.get('enum_values', [])))


def module(m, d):
    # Debian's 18.2 and 20.2 cannot load bcrypt where it matters.
    return ('1' if m['can_run'] or 'PyO3' in m['error_string'] else m['error_string'], d['name'], d['type'], d['level'], str(d['flags']), d['default_value'], d['min'], d['max'],
            ','.join(d['enum_allowed']))


def write(path, tables, more=()):
    """A line for each name and what the same releases say of it; of no releases if all do."""
    lines = {}
    for release, table in tables.items():
        for key, value in table:
            lines.setdefault((key, value), []).append(release)
    out = ['\t'.join([key, '' if len(releases) == len(tables) else ','.join(releases), *value]).rstrip('\t') for (key, value), releases in lines.items()]
    with open(path, 'w') as f:
        f.writelines(line + '\n' for line in sorted([*out, *more], key=lambda line: line.split('\t')))


folder = sys.argv[1]
levels = [line for line in open(folder + '/options.tsv').read().splitlines() if line.split('\t')[2] == 'subsys']
options, modules = {}, {}
for release, conf in zip(('16', '18', '20'), sys.argv[2:]):
    cluster = rados.Rados(conffile=conf)
    cluster.connect()
    found = [ask(cluster, prefix='config help', key=name) for name in ask(cluster, prefix='config ls')]
    mgr = ask(cluster, prefix='mgr dump')
    options[release] = [(d['name'], option(d)) for d in found]
    modules[release] = [(m['name'], module(m, d)) for m in mgr['available_modules'] for d in m['module_options'].values()]
write(folder + '/options.tsv', options, levels)
write(folder + '/modules.tsv', modules)
