package main

import (
	"testing"
	"testing/fstest"
)

func TestMemoryOfTheControlGroup(t *testing.T) {
	const v1none = "9223372036854771712\n"
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  int64 // 0: no limit
	}{
		{"no control groups", nil, 0},
		{"version 2, in a container", map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "1073741824\n"}, 1 << 30},
		{"version 2, no limit", map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n"}, 0},
		{"version 2, on the host", map[string]string{
			"proc/self/cgroup": "0::/system.slice/pingline.service\n",
			"sys/fs/cgroup/system.slice/pingline.service/memory.max": "max\n",
			"sys/fs/cgroup/system.slice/memory.max":                  "536870912\n",
		}, 512 << 20},
		{"version 2, the lowest of several", map[string]string{
			"proc/self/cgroup":             "0::/a/b\n",
			"sys/fs/cgroup/a/b/memory.max": "900\n",
			"sys/fs/cgroup/a/memory.max":   "800\n",
		}, 800},
		{"version 2, a path of the host", map[string]string{"proc/self/cgroup": "0::/../../kubepods/x\n", "sys/fs/cgroup/memory.max": "1000\n"}, 1000},
		{"version 1", map[string]string{
			"proc/self/cgroup": "5:cpu,cpuacct:/x\n4:memory:/docker/abc\n0::/\n",
			"sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": "268435456\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes":            v1none,
		}, 256 << 20},
		{"version 1, no limit", map[string]string{
			"proc/self/cgroup":                           "4:memory:/\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": v1none,
		}, 0},
		{"nonsense", map[string]string{"proc/self/cgroup": "0::/\n:::\nx", "sys/fs/cgroup/memory.max": "lots"}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := fstest.MapFS{}
			for name, text := range tt.files {
				root[name] = &fstest.MapFile{Data: []byte(text)}
			}
			got, ok := groupMemory(root)
			if ok != (tt.want != 0) || ok && got != tt.want {
				t.Errorf("limit %d, %v; want %d", got, ok, tt.want)
			}
		})
	}
}
