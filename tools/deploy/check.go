// Command deploy checks the examples of deploy/ for clusters of Kubernetes and for
// Docker Compose, as their own programs read them:
//
//	go run . FOLDER
//
// It prints what is wrong, a line each, and exits with 1.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: deploy FOLDER")
		os.Exit(2)
	}
	var errs []error
	for example, check := range map[string]func(string) error{
		"kubernetes": kubernetes, "kubernetes-parts": kubernetes, "compose.yaml": compose, "compose-parts.yaml": compose,
	} {
		if err := check(filepath.Join(os.Args[1], example)); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", example, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// cluster is the objects of a kustomization.
type cluster struct {
	set      appsv1.StatefulSet
	services []corev1.Service
	budget   policyv1.PodDisruptionBudget
	configs  map[string]bool // names
}

// kubernetes builds a kustomization and returns what is wrong with it: keys that the
// API does not know, and names that lead nowhere.
func kubernetes(folder string) error {
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), folder)
	if err != nil {
		return err
	}
	c := cluster{configs: make(map[string]bool)}
	for _, r := range built.Resources() {
		text, err := r.AsYAML()
		if err != nil {
			return err
		}
		var one any
		switch r.GetKind() {
		case "StatefulSet":
			one = &c.set
		case "Service":
			c.services = append(c.services, corev1.Service{})
			one = &c.services[len(c.services)-1]
		case "PodDisruptionBudget":
			one = &c.budget
		case "ConfigMap":
			one = new(corev1.ConfigMap)
			c.configs[r.GetName()] = true
		default:
			return fmt.Errorf("%s: %s is of no kind that is checked", r.GetName(), r.GetKind())
		}
		if err := yaml.UnmarshalStrict(text, one); err != nil {
			return fmt.Errorf("%s %s: %w", r.GetKind(), r.GetName(), err)
		}
	}
	return c.check()
}

func (c *cluster) check() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	pod := c.set.Spec.Template
	if len(pod.Spec.Containers) != 1 || pod.Labels == nil {
		return errors.New("not one pod of one container with labels")
	}
	for whose, selector := range map[string]*metav1.LabelSelector{"the set": c.set.Spec.Selector, "the budget": c.budget.Spec.Selector} {
		if selector == nil || !maps.Equal(selector.MatchLabels, pod.Labels) {
			wrong("the selector of %s does not choose the pod", whose)
		}
	}
	main := &pod.Spec.Containers[0]
	ports := make(map[intstr.IntOrString]bool)
	for _, p := range main.Ports {
		ports[intstr.FromString(p.Name)] = true
	}
	governs := false
	for _, s := range c.services {
		governs = governs || s.Name == c.set.Spec.ServiceName && s.Spec.ClusterIP == corev1.ClusterIPNone
		if !maps.Equal(s.Spec.Selector, pod.Labels) {
			wrong("the selector of service %s does not choose the pod", s.Name)
		}
		for _, p := range s.Spec.Ports {
			if !ports[p.TargetPort] {
				wrong("service %s leads to port %q, which the container does not name", s.Name, p.TargetPort.String())
			}
		}
	}
	if !governs {
		wrong("no headless service %q", c.set.Spec.ServiceName)
	}
	for which, probe := range map[string]*corev1.Probe{"startup": main.StartupProbe, "liveness": main.LivenessProbe, "readiness": main.ReadinessProbe} {
		if probe == nil || probe.HTTPGet == nil || !ports[probe.HTTPGet.Port] {
			wrong("no %s probe of a port that the container names", which)
		}
	}
	for _, from := range main.EnvFrom {
		if from.ConfigMapRef != nil && !c.configs[from.ConfigMapRef.Name] {
			wrong("there is no config map %q", from.ConfigMapRef.Name)
		}
	}
	claims := make(map[string]bool)
	for _, claim := range c.set.Spec.VolumeClaimTemplates {
		claims[claim.Name] = true
	}
	for _, v := range pod.Spec.Volumes {
		claims[v.Name] = true
	}
	for _, mount := range main.VolumeMounts {
		if !claims[mount.Name] {
			wrong("there is no volume %q", mount.Name)
		}
	}
	if main.Resources.Limits.Memory().IsZero() {
		wrong("no limit of memory")
	}
	if n := c.set.Spec.Replicas; n != nil && *n > 1 && !c.apart(pod.Spec.Affinity) {
		wrong("two of the %d pods may be on one machine", *n)
	}
	for _, e := range main.Env {
		if service, port, ok := peerAddress(e); ok && !(service == c.set.Spec.ServiceName && ports[intstr.FromString("peers")] && c.listens(main, port)) {
			wrong("%s=%s leads to no port of a pod", e.Name, e.Value)
		}
	}
	return errors.Join(errs...)
}

// apart reports whether pods are kept on machines of their own.
func (c *cluster) apart(a *corev1.Affinity) bool {
	if a == nil || a.PodAntiAffinity == nil {
		return false
	}
	for _, term := range a.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution {
		if term.TopologyKey == corev1.LabelHostname && term.LabelSelector != nil && maps.Equal(term.LabelSelector.MatchLabels, c.set.Spec.Template.Labels) {
			return true
		}
	}
	return false
}

// peerAddress returns the service and the port by which other nodes reach a pod.
func peerAddress(e corev1.EnvVar) (service, port string, ok bool) {
	if e.Name != "PINGLINE_PEER_ADDRESS" {
		return "", "", false
	}
	host, port, _ := strings.Cut(e.Value, ":")
	_, service, _ = strings.Cut(host, ".")
	return service, port, true
}

// listens reports whether a container names a port.
func (c *cluster) listens(in *corev1.Container, port string) bool {
	return slices.ContainsFunc(in.Ports, func(p corev1.ContainerPort) bool { return strconv.Itoa(int(p.ContainerPort)) == port })
}

// compose returns what is wrong with a file of Docker Compose: its schema, and paths
// that are not there.
func compose(file string) error {
	options, err := cli.NewProjectOptions([]string{file}, cli.WithName("pingline"))
	if err != nil {
		return err
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		return err
	}
	var errs []error
	there := func(path string) {
		if _, err := os.Stat(path); err != nil {
			errs = append(errs, err)
		}
	}
	for _, service := range project.Services {
		for _, v := range service.Volumes {
			if v.Type == types.VolumeTypeBind {
				there(v.Source)
			}
		}
		if b := service.Build; b != nil {
			there(filepath.Join(b.Context, cmp.Or(b.Dockerfile, "Dockerfile")))
		}
	}
	return errors.Join(errs...)
}
