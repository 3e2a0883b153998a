"""run.py SIDE RELEASE CONF DIR LIST...: run the lines of the lists with the shell in a
new folder DIR, on the cluster of CONF, and print what came of each, a line of
JSON each: line, mark, exit code, stdout and stderr. SIDE is real or fake."""

import copy
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import traceback
import types


side, release, conf, folder = sys.argv[1:5]
os.makedirs(folder, exist_ok=True)
env = {'PATH': '/usr/bin:/bin', 'HOME': folder, 'LC_ALL': 'C.UTF-8', 'CEPH_CONF': conf}
os.environ.update(env)
program = compile(open('/usr/bin/ceph').read(), '/usr/bin/ceph', 'exec')
import ceph_argparse, ceph_daemon, rados  # noqa: E402,F401 what the program imports is there when it is forked


# Most of the program's time goes into reading what commands there are, and into copies of
# that: here it is read once, and only what changes is copied.
read = ceph_argparse.parse_json_funcsigs
known = {}


def parsed(text, where):
    return known.get((text if isinstance(text, str) else text.decode(), where)) or read(text, where)


def shallow(v):
    return [copy.copy(x) for x in v] if isinstance(v, list) else copy.deepcopy(v)


ceph_argparse.parse_json_funcsigs = parsed
ceph_argparse.copy = types.SimpleNamespace(copy=copy.copy, deepcopy=shallow)
with rados.Rados(conffile=conf) as cluster:
    _, text, _ = cluster.mon_command(json.dumps({'prefix': 'get_command_descriptions'}), b'')
    known[text.decode(), 'cli'] = read(text.decode(), 'cli')


def forked(args):
    """Run the ceph program in a child of this process, which is several times as fast
    as to start it."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errs:
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                signal.alarm(120)
                os.chdir(folder)
                for fd, to in ((os.open('/dev/null', os.O_RDONLY), 0), (out.fileno(), 1), (errs.fileno(), 2)):
                    os.dup2(fd, to)
                sys.argv = ['/usr/bin/ceph'] + args[1:]
                try:
                    exec(program, {'__name__': '__main__', '__file__': '/usr/bin/ceph'})
                    code = 0
                except SystemExit as e:
                    code = e.code if isinstance(e.code, int) else 0 if e.code is None else 1
                    if isinstance(e.code, str):
                        print(e.code, file=sys.stderr)
                except BaseException:
                    traceback.print_exc()
                sys.stdout.flush()
                sys.stderr.flush()
            finally:
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        texts = []
        for f in (out, errs):
            f.seek(0)
            texts.append(f.read().decode('utf-8', 'replace'))
        return [code] + texts


for path in sys.argv[5:]:
    for line in open(path).read().splitlines():
        if not line or line[0] == '#':
            continue
        mark = ''
        m = re.match(r'(!(?:real|fake)?(?::\d+)?|[~?^]) ', line)
        if m:
            mark, line = m.group(1), line[m.end():]
        if mark.startswith('!'):
            who, _, only = mark[1:].partition(':')
            if who not in ('', side) or only not in ('', release):
                continue
        if line.startswith('ceph ') and not re.search(r'[|<>&;$]', line):
            result = forked(shlex.split(line))
            if not mark.startswith('!'):
                print(json.dumps([line, mark] + result), flush=True)
            continue
        try:
            for _ in range(5):
                p = subprocess.run(['/bin/bash', '-c', line], cwd=folder, env=env, capture_output=True, timeout=60, stdin=subprocess.DEVNULL)
                # A program that ends while it connects, because of its arguments or after a
                # ping, crashes now and then.
                short = b'usage: rados' in p.stdout + p.stderr or line.startswith('ceph ping')
                if not short or not re.search(b'Caught signal|terminate called|Segmentation fault', p.stderr):
                    break
            result = [p.returncode, p.stdout.decode('utf-8', 'replace'), p.stderr.decode('utf-8', 'replace')]
        except subprocess.TimeoutExpired:
            result = [-1, '', 'still running after a minute']
        if not mark.startswith('!'):
            print(json.dumps([line, mark] + result), flush=True)
