package fakecluster

import (
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/osdmap"
)

// What pools are used for, and what applications note about them.

func (k *call) appEnable() errno.Errno {
	id, p, e := k.pool()
	if e != 0 {
		return e
	}
	app := k.args.str("app")
	if _, ok := p.Applications[app]; !ok {
		if len(p.Applications) > 0 && !k.args.flag("yes_i_really_mean_it") {
			return k.say(errno.ErrPermission, "Are you SURE? Pool '%s' already has an enabled application; pass --yes-i-really-mean-it to proceed anyway", k.args.str("pool"))
		}
		k.c.updatePool(id, func(p *osdmap.Pool) { p.Applications[app] = map[string]string{} })
	}
	return k.say(0, "enabled application '%s' on pool '%s'", app, k.args.str("pool"))
}

func (k *call) appDisable() errno.Errno {
	id, p, e := k.pool()
	if e != 0 {
		return e
	}
	app := k.args.str("app")
	if !k.args.flag("yes_i_really_mean_it") {
		return k.say(errno.ErrPermission, "Are you SURE? Disabling an application within a pool might result in loss of application functionality; pass --yes-i-really-mean-it to proceed anyway")
	}
	if _, ok := p.Applications[app]; !ok {
		return k.say(0, "application '%s' is not enabled on pool '%s'", app, k.args.str("pool"))
	}
	k.c.updatePool(id, func(p *osdmap.Pool) { delete(p.Applications, app) })
	return k.say(0, "disable application '%s' on pool '%s'", app, k.args.str("pool"))
}

func (k *call) appSet() errno.Errno {
	id, p, e := k.pool()
	if e != 0 {
		return e
	}
	app, key, v := k.args.str("app"), k.args.str("key"), k.args.str("value")
	if _, ok := p.Applications[app]; !ok {
		return k.say(errno.ErrNotFound, "application '%s' is not enabled on pool '%s'", app, k.args.str("pool"))
	}
	k.c.updatePool(id, func(p *osdmap.Pool) { p.Applications[app][key] = v })
	return k.say(0, "set application '%s' key '%s' to '%s' on pool '%s'", app, key, v, k.args.str("pool"))
}

func (k *call) appRemove() errno.Errno {
	id, p, e := k.pool()
	if e != 0 {
		return e
	}
	app, key := k.args.str("app"), k.args.str("key")
	if _, ok := p.Applications[app]; !ok {
		return k.say(errno.ErrNotFound, "application '%s' is not enabled on pool '%s'", app, k.args.str("pool"))
	}
	if _, ok := p.Applications[app][key]; !ok {
		return k.say(0, "application '%s' on pool '%s' does not have key '%s'", app, k.args.str("pool"), key)
	}
	k.c.updatePool(id, func(p *osdmap.Pool) { delete(p.Applications[app], key) })
	return k.say(0, "removed application '%s' key '%s' on pool '%s'", app, key, k.args.str("pool"))
}

func (k *call) appGet() errno.Errno {
	if !k.args.has("pool") {
		all := object{}
		for _, id := range poolsByID(k.c.osdmap) {
			all = append(all, field{k.c.osdmap.PoolNames[id], appsObject(k.c.osdmap.Pools[id])})
		}
		return k.json(all)
	}
	_, p, e := k.pool()
	if e != 0 {
		return e
	}
	app, key := k.args.str("app"), k.args.str("key")
	if app == "" {
		return k.json(appsObject(p))
	}
	meta, ok := p.Applications[app]
	if !ok {
		return k.say(errno.ErrNotFound, "pool '%s' has no application '%s'", k.args.str("pool"), app)
	}
	if key == "" {
		return k.json(stringObject(meta))
	}
	v, ok := meta[key]
	if !ok {
		return k.say(errno.ErrNotFound, "application '%s' on pool '%s' does not have key '%s'", app, k.args.str("pool"), key)
	}
	return k.print("%s\n", v)
}
