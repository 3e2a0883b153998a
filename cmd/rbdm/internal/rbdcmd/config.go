package rbdcmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rbdm/rbdm/cmd/rbdm/internal/cli"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd"
)

// configPrefix comes before an option in the metadata of a pool or image.
const configPrefix = "conf_"

// configHandlers are the commands about overrides of the configuration.
func configHandlers() map[string]handler {
	all := map[string]handler{
		"config global get":    configGlobalGet,
		"config global list":   configGlobalList,
		"config global remove": configGlobalRemove,
		"config global set":    configGlobalSet,
		"config image list":    configImageList,
		"config pool list":     configPoolList,
	}
	for _, verb := range []string{"get", "set", "remove"} {
		all["config image "+verb] = func(ctx context.Context, c *call) error { return c.configImage(ctx, verb) }
		all["config pool "+verb] = func(ctx context.Context, c *call) error { return c.configPool(ctx, verb) }
	}
	return all
}

// configStore is where overrides of a pool or an image are kept.
type configStore struct {
	get    func(key string) (string, error)
	set    func(key, value string) error
	remove func(key string) error
}

// change carries one of the three verbs out.
func (s configStore) change(c *call, verb, key, value string) error {
	switch verb {
	case "get":
		v, err := s.get(configPrefix + key)
		if errors.Is(err, rados.ErrNotFound) {
			return notSet(key)
		}
		if err != nil {
			return failed(err, "rbd: failed to get %s", key)
		}
		c.printf("%s\n", v)
	case "set":
		if err := s.set(configPrefix+key, value); err != nil {
			return failed(err, "rbd: failed to set %s", key)
		}
	case "remove":
		if err := s.remove(configPrefix + key); err != nil {
			return failed(err, "rbd: failed to remove %s", key)
		}
	}
	return nil
}

func notSet(key string) error {
	return &cli.UsageError{Code: exitNoEntry, Msg: fmt.Sprintf("rbd: %s is not set", key), Err: rados.ErrNotFound}
}

// configKey reads the option's name and the value after it.
func configKey(args []string) (key, value string, err error) {
	if len(args) > 0 {
		key = args[0]
	}
	if len(args) > 1 {
		value = args[1]
	}
	switch {
	case key == "":
		err = invalidf("rbd: config key was not specified")
	case !strings.HasPrefix(key, "rbd_"):
		err = invalidf("rbd: not rbd option: %s", key)
	}
	return key, value, err
}

// configPoolArg reads the pool of a command about its configuration: nothing but
// an argument names it.
func configPoolArg(in *cli.Invocation) (spec, error) {
	if in.Arg(0) == "" {
		return spec{}, invalidf("rbd: pool name was not specified")
	}
	return spec{Pool: in.Arg(0)}, nil
}

func (c *call) configPool(ctx context.Context, verb string) error {
	s, err := configPoolArg(c.Invocation)
	if err != nil {
		return err
	}
	key, value, err := configKey(c.Args[1:])
	if err != nil {
		return err
	}
	io, err := c.pool(ctx, s)
	if err != nil {
		return err
	}
	if err := c.knownOption(key); err != nil {
		return err
	}
	return configStore{
		get: func(key string) (string, error) { return rbd.PoolMetadataGet(ctx, io, key) },
		set: func(name, value string) error {
			if err := checkConfig(key, value, true); err != nil {
				return err
			}
			if err := rbd.PoolMetadataSet(ctx, io, name, value); err != nil {
				return err
			}
			return c.poolConfigChanged(ctx)
		},
		remove: func(key string) error {
			if err := rbd.PoolMetadataRemove(ctx, io, key); err != nil {
				return err
			}
			return c.poolConfigChanged(ctx)
		},
	}.change(c, verb, key, value)
}

// checkConfig refuses a value that the option cannot have, and for an image an
// option that is about making images.
func checkConfig(name, value string, pool bool) error {
	for _, o := range configOptions {
		if o.name != name {
			continue
		}
		if o.poolOnly && !pool {
			return rados.ErrInvalid
		}
		var err error
		switch {
		case o.value == "true" || o.value == "false":
			if value != "true" && value != "false" {
				_, err = strconv.ParseInt(value, 10, 64)
			}
		case strings.Contains(o.value, "."):
			_, err = strconv.ParseFloat(value, 64)
		case o.value != "" && strings.Trim(o.value, "0123456789") == "" && o.name != "rbd_default_features":
			_, err = cli.ParseSize(value, 1)
		}
		if err != nil {
			return rados.ErrInvalid
		}
	}
	return nil
}

// poolConfigChanged tells all clients that the overrides of some pool are others
// now: they follow this option of the monitors.
func (c *call) poolConfigChanged(ctx context.Context) error {
	now := strconv.FormatInt(time.Now().Unix(), 10)
	_, status, err := c.client.MonCommand(ctx, map[string]string{"prefix": "config set", "who": "global", "name": "rbd_config_pool_override_update_timestamp", "value": now}, nil)
	if err == nil || errors.Is(err, rados.ErrPermission) || errors.Is(err, rados.ErrAccess) {
		return nil // those who may not say so have changed the pool nevertheless
	}
	return fmt.Errorf("tell the clients: %s: %w", status, err)
}

// knownOption refuses an option that there is not.
func (c *call) knownOption(key string) error {
	_, _, known := c.cfg.Lookup(key)
	if known || slices.ContainsFunc(configOptions, func(o configOption) bool { return o.name == key }) {
		return nil
	}
	return invalidf("rbd: invalid config key: %s", key)
}

func (c *call) configImage(ctx context.Context, verb string) error {
	s, rest, err := specArg{}.take(c.Invocation)
	if err != nil {
		return err
	}
	key, value, err := configKey(rest)
	if err != nil {
		return err
	}
	return c.withImage(ctx, s, "", rbd.OpenOptions{}, func(img *rbd.Image) error {
		if err := c.knownOption(key); err != nil {
			return err
		}
		return configStore{
			get: func(key string) (string, error) {
				v, err := img.MetadataGet(ctx, key)
				return string(v), err
			},
			set: func(name, value string) error {
				if err := errors.Join(checkConfig(key, value, false), metadataWritable(ctx, img)); err != nil {
					return err
				}
				return img.MetadataSet(ctx, name, []byte(value))
			},
			remove: func(key string) error { return img.MetadataRemove(ctx, key) },
		}.change(c, verb, key, value)
	})
}

func configPoolList(ctx context.Context, c *call) error {
	_, f, io, err := c.showPool(ctx, configPoolArg)
	if err != nil {
		return err
	}
	values, err := rbd.PoolConfig(ctx, io)
	if err != nil {
		return failed(err, "rbd: failed to list config")
	}
	return c.printConfig(f, "source", c.listConfig(ctx, values, true))
}

func configImageList(ctx context.Context, c *call) error {
	return c.showImage(ctx, func(img *rbd.Image, f *cli.Formatter) error {
		values, err := img.Config(ctx)
		if err != nil {
			return failed(err, "rbd: failed to list config")
		}
		values = c.listConfig(ctx, values, false)
		if f == nil {
			c.printf("There are %d values:\n", len(values))
		}
		return c.printConfig(f, "source", values)
	})
}

// printConfig lists options; origin is the name of the last column.
func (c *call) printConfig(f *cli.Formatter, origin string, values []rbd.ConfigValue) error {
	if f == nil {
		var t cli.TextTable
		for _, name := range []string{"Name", "Value", strings.ToUpper(origin[:1]) + origin[1:]} {
			t.Column(name, cli.Left, cli.Left)
		}
		for _, v := range values {
			t.Row(v.Name, v.Value, v.Source)
		}
		t.Write(c.std.Out)
		return nil
	}
	f.OpenArray("config")
	for _, v := range values {
		f.OpenObject("option")
		f.String("name", v.Name)
		f.String("value", v.Value)
		f.String(origin, v.Source)
		f.Close()
	}
	return f.Flush(c.std.Out)
}

// configEntity reads whose configuration in the monitors is meant.
func (c *call) configEntity() (string, error) {
	who := c.Arg(0)
	if who != "global" && who != "client" && !strings.HasPrefix(who, "client.") {
		return "", invalidf("rbd: invalid config entity: %s (must be global, client or client.<id>)", who)
	}
	return who, nil
}

// globalKey reads entity, key and value.
func (c *call) globalKey() (who, key, value string, err error) {
	if who, err = c.configEntity(); err != nil {
		return "", "", "", err
	}
	key, value, err = configKey(c.Args[1:])
	return who, key, value, err
}

func configGlobalGet(ctx context.Context, c *call) error {
	who, key, _, err := c.globalKey()
	if err != nil {
		return err
	}
	values, err := c.globalConfig(ctx, who)
	if err != nil {
		return err
	}
	for _, v := range values {
		if v.Name == key && v.Source == who {
			c.printf("%s\n", v.Value)
			return nil
		}
	}
	return notSet(key)
}

func configGlobalSet(ctx context.Context, c *call) error {
	who, key, value, err := c.globalKey()
	if err != nil {
		return err
	}
	if _, err := c.config(); err != nil {
		return err
	}
	if err := c.knownOption(key); err != nil {
		return err
	}
	return c.monConfig(ctx, "rbd: error setting "+key, map[string]string{"prefix": "config set", "who": who, "name": key, "value": value})
}

func configGlobalRemove(ctx context.Context, c *call) error {
	who, key, _, err := c.globalKey()
	if err != nil {
		return err
	}
	return c.monConfig(ctx, "rbd: error removing "+key, map[string]string{"prefix": "config rm", "who": who, "name": key})
}

func (c *call) monConfig(ctx context.Context, what string, cmd map[string]string) error {
	client, err := c.connect(ctx)
	if err != nil {
		return err
	}
	if _, text, err := client.MonCommand(ctx, cmd, nil); err != nil {
		return &cli.UsageError{Code: exitCode(err), Msg: what + ": " + text, Err: err}
	}
	return nil
}

func configGlobalList(ctx context.Context, c *call) error {
	who, err := c.configEntity()
	if err != nil {
		return err
	}
	f, err := c.formatter()
	if err != nil {
		return err
	}
	values, err := c.globalConfig(ctx, who)
	if err != nil || (f == nil && len(values) == 0) {
		return err
	}
	return c.printConfig(f, "section", values)
}

// globalConfig asks the monitors for the options of RBD that hold for an entity,
// the nearest section of each.
func (c *call) globalConfig(ctx context.Context, who string) ([]rbd.ConfigValue, error) {
	client, err := c.connect(ctx)
	if err != nil {
		return nil, err
	}
	out, text, err := client.MonCommand(ctx, map[string]string{"prefix": "config dump", "format": "json"}, nil)
	if err != nil {
		return nil, &cli.UsageError{Code: exitCode(err), Msg: "rbd: error reading config: " + text, Err: err}
	}
	var dump []configEntry
	if err := json.Unmarshal(out, &dump); err != nil {
		return nil, invalidf("rbd: error parsing config dump: %v", err)
	}
	return nearest(dump, who), nil
}

// configEntry is one line of `ceph config dump`.
type configEntry struct{ Section, Name, Value string }

// nearest picks for every option of RBD the section nearest to who: who itself,
// then client, then global.
func nearest(dump []configEntry, who string) []rbd.ConfigValue {
	rank := map[string]int{"global": 1}
	if who != "global" {
		rank["client"] = 2
		rank[who] = max(rank[who], 3)
	}
	found := make(map[string]rbd.ConfigValue)
	for _, e := range dump {
		if strings.HasPrefix(e.Name, "rbd_") && rank[e.Section] > rank[found[e.Name].Source] {
			found[e.Name] = rbd.ConfigValue{Name: e.Name, Value: e.Value, Source: e.Section}
		}
	}
	return slices.SortedFunc(maps.Values(found), func(a, b rbd.ConfigValue) int { return strings.Compare(a.Name, b.Name) })
}
