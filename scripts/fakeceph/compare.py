"""compare.py RELEASE REAL FAKE KNOWN HOSTNAME: compare the answers that run.py got on a
real cluster and on the fake. What changes from run to run is made equal: ids, keys,
times, addresses, epochs. KNOWN gives reasons for differences, a line each: releases
or *, the command line, a tab, the reason."""

import difflib
import json
import os
import re
import sys

release, real, fake, known, hostname = sys.argv[1:6]
SHOWN = int(os.environ.get("SHOWN", "12"))  # lines of a difference

RULES = [(re.compile(a), b) for a, b in [
    (r'\bhost\d\b|\b%s\b' % re.escape(hostname), 'HOST'),
    (r'\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b', 'UUID'),
    (r'\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d{4})?', 'TIME'),
    (r'\b(key( =|:) |")?[A-Za-z0-9+/]{38,}={1,2}', r'\1KEY'),
    (r'\[v[12]:[0-9.:]+/\d+(,v[12]:[0-9.:]+/\d+)*\]', 'ADDR'),
    (r'\bv[12]:\d+\.\d+\.\d+\.\d+:\d+(/\d+)?', 'ADDR'),
    (r'\b127\.\d+\.\d+\.\d+:\d+(/\d+)?', 'ADDR'),
    (r'\(age [^)]*\)|\(since [^)]*\)|\(active, since [^)]*\)', '(AGE)'),
    (r'\bclient\.\d+\b', 'client.N'),
    (r'\b(epoch:? |osdmap e|epoch "?|last_change |e)\d+\b', r'\1N'),
    (r'\b(up_from|up_thru|crush_version|lfor \d+/\d+/) ?[1-9]\d*', r'\1 N'),
    (r'\b7f[0-9a-f]{10}\b', 'THREAD'),
    (r'\b0x[0-9a-f]{8,}\b', 'POINTER'),
    (r'\breport \d+', 'report N'),
    (r'\btid \d+', 'tid N'),
    (r'\bcookie([ =])\d+', r'cookie\1N'),
    (r'\bnotify_id \d+ from \d+', 'notify_id N from N'),
    (r'\b(benchmark_data_\w+_)\d+', r'\1N'),
    # Python that writes into a pipe which is closed, or not yet.
    (r'Exception ignored [^\n]*stdout[^\n]*\nBrokenPipeError: [^\n]*\n', ''),
    (r'WARNING: [^\n]*\n', ''),
    # What a client that ends while it connects sometimes says.
    (r'[^\n]* (ERROR: usage keys is null|cephx: verify_reply|cephx: failed to decrypt|get_initial_auth_request|monclient: )[^\n]*\n', ''),
    (r'\b(hdd|ssd)\b', 'CLASS'),
    (r'\d{4}\.\d\d\.\d\d \d\d:\d\d:\d\d', 'TIME'),
    (r'TIME:\d{6}\+0000', 'TIME'),
    # How the program was started, in a traceback.
    (r'  File "[^"]*run\.py", line \d+, in forked\n(    [^\n]*\n)*', ''),
    (r'queued for scrub|(periodic|user requested) (deep )?scrub scheduled @ TIME', 'SCRUB'),
]]
# The values of these members of JSON are not compared.
VOLATILE = re.compile(r'(^|_)(epoch|stamp|timestamp|time|since|age|created|modified|nonce|addr|addrs|features?|up_from|up_thru|last_change|'
                      r'crush_version|force_op_resend.*|gid|global_id|uptime|seq|until|btime|fingerprint|id_status|first_committed|last_committed|flags_num|purged)(_|$)|^last_')


def text(s):
    for rule, to in RULES:
        s = rule.sub(to, s)
    return s


def value(v, key=''):
    if isinstance(v, dict):
        return {text(k): value(x, k) for k, x in v.items() if k not in MACHINE}
    if isinstance(v, list):
        return [value(x, key) for x in (v[:1] if key == 'addrvec' else v)]
    if key and VOLATILE.search(key) and not isinstance(v, bool):
        return 'VOLATILE'
    return text(v) if isinstance(v, str) else v


# Members that tell of the machine, and are there or not as it is.
MACHINE = {'container_name', 'distro_version'}


def sizes(v):
    """Without numbers, which are only there."""
    if isinstance(v, dict):
        return {k: sizes(x) for k, x in v.items()}
    if isinstance(v, list):
        return [sizes(x) for x in v]
    return 'N' if isinstance(v, (int, float)) and not isinstance(v, bool) else v


def names(v):
    """The names of members, and the shape of a list's first element."""
    if isinstance(v, dict):
        return {text(k): names(x) for k, x in v.items() if k not in MACHINE}
    if isinstance(v, list):
        return [names(v[0])] if v else []
    return 0


def unordered(v):
    if isinstance(v, dict):
        return {k: unordered(x) for k, x in v.items()}
    if isinstance(v, list):
        return sorted((unordered(x) for x in v), key=json.dumps)
    return v


def plain(s, mark):
    try:
        parsed = json.loads(s)
        if not isinstance(parsed, (dict, list)):
            raise ValueError
        pretty = 'pretty ' if s.strip().count('\n') > 1 else ''
        parsed = names(parsed) if mark == '?' else value(parsed)
        parsed = sizes(parsed) if mark == '~' else parsed
        return pretty + json.dumps(unordered(parsed) if mark == '^' else parsed, indent=1)
    except ValueError:
        pass
    s = text(s)
    if mark == '^':
        s = '\n'.join(sorted(s.splitlines()))
    if mark in ('~', '?'):
        s = re.sub(r'\b(\d+[smhdw])+\b', 'N', s)
        s = re.sub(r'\d+(\.\d+)?(e[+-]\d+)?( ?[KMGTP]?i?B)?', 'N', s)
        s = re.sub(r'[ \t]+', ' ', s)
        s = re.sub(r'(?m)^ | $', '', s)
        s = re.sub(r'-{2,}', '--', s)
    # What a command is for is told in Ceph's own words by Ceph only.
    return re.sub(r'(?m)^((?:\S+ )+?) ?: .*$', r'\1:', s) if '<' in s or 'closest matches' in s or 'nvalid command' in s else s


def read(path):
    return [json.loads(line) for line in open(path)]


reasons = {}
for line in open(known):
    if line.strip() and line[0] != '#':
        head, _, reason = line.rstrip('\n').partition('\t')
        which, _, command = head.partition(' ')
        if which == '*' or release in which.split(','):
            reasons[command] = reason
equal, explained, bad, stale = 0, [], 0, set(reasons)
for r, f in zip(read(real), read(fake), strict=True):
    assert r[0] == f[0], (r[0], f[0])
    want, got = ([x[2], plain(x[3], x[1]), plain(x[4], x[1])] for x in (r, f))
    if want == got:
        equal += 1
    elif r[0] in reasons:
        stale.discard(r[0])
        explained.append('%s: %s' % (r[0], reasons[r[0]]))
    else:
        bad += 1
        print('DIFFERS: ' + r[0])
        for what, a, b in zip(('exit code', 'stdout', 'stderr'), want, got):
            if a != b:
                lines = difflib.unified_diff(str(a).splitlines(), str(b).splitlines(), 'real', 'fake', n=1, lineterm='')
                lines = [x for x in lines if x[:2] != '@@'][2:]
                print(' %s\n%s' % (what, '\n'.join('  ' + x for x in lines[:SHOWN])))
for e in sorted(explained):
    print('known: ' + e)
for s in sorted(stale):
    print('no longer different: ' + s)
print('release %s: %d lines, %d equal, %d known differences, %d others' % (release, equal + len(explained) + bad, equal, len(explained), bad))
sys.exit(bad != 0)
