"""describe.py CONF16 CONF18 CONF20: ask the daemons of real clusters of the three
releases which commands they take, and print them as fakecluster/commands.tsv has
them: who takes the command (m monitor and manager, o a told OSD, t a told monitor, y a
told manager), releases (nothing: all), words and arguments, module, access, flags."""

import difflib
import json
import sys

import rados

ASK = json.dumps({'prefix': 'get_command_descriptions'})


def argument(a):
    if isinstance(a, str):
        return a
    text = a['name'] + ':' + a['type'].removeprefix('Ceph')
    for key, v in a.items():
        if key == 'req':
            if v is False and (a['name'], a['type']) == ('pool', 'CephPoolname'):
                v = 'fasle'  # what 18.2 and 20.2 still tell clients of 16.2, and the others as a bool
            text += ',?' if v in (False, 'false') else ',req=' + (v if isinstance(v, str) else 'true')
        elif key == 'n':
            text += ',n'
        elif key == 'positional' and v is False:
            text += ',named'
        elif key == 'strings':
            text += ',=' + v
        elif key == 'range':
            text += ',range=' + v
        elif key == 'goodchars':
            text += ',good=' + v
    return text


def commands(conf):
    cluster = rados.Rados(conffile=conf)
    cluster.connect()
    answers = {
        'm': cluster.mon_command(ASK, b''), 'o': cluster.osd_command(0, ASK, b''),
        't': cluster.mon_command(ASK, b'', target='a'), 'y': cluster.mgr_command(ASK, b'', target='x'),
    }
    out = []
    for who, (_, text, _) in answers.items():
        table = json.loads(text)
        for key in sorted(table):
            d = table[key]
            words = ' '.join(argument(a) for a in d['sig'])
            out.append((who, words, d.get('module', ''), d.get('perm', ''), str(d.get('flags', 0))))
    return out


def merge(a, b):
    """One list of two, in the order of both."""
    out = []
    same = difflib.SequenceMatcher(None, [x[0] for x in a], [x[0] for x in b], autojunk=False)
    for op, i, j, k, n in same.get_opcodes():
        if op == 'equal':
            out += [(x[0], x[1] | y[1]) for x, y in zip(a[i:j], b[k:n])]
        else:
            out += a[i:j] + b[k:n]
    return out


lists = {r: [(c, {r}) for c in commands(conf)] for r, conf in zip((16, 18, 20), sys.argv[1:])}
for (who, words, module, perm, flags), releases in merge(merge(lists[16], lists[18]), lists[20]):
    print('\t'.join([who, '' if len(releases) == 3 else ','.join(map(str, sorted(releases))), words, module, perm, flags]))
