#!/usr/bin/env bash
# All of fraudray in Minikube, from nothing to a scored payment: `make minikube-up`.
# Each step looks what is there already, so a run that was stopped goes on when it is started again.
#
#   CPUS=4 MEMORY=8192   size of the node, cores and MiB
# shellcheck source=scripts/minikube.sh
. "$(dirname "$0")/minikube.sh"

: "${CPUS:=4}" "${MEMORY:=8192}"
: "${POLL:=5}"       # seconds between two looks while waiting
: "${PATIENCE:=180}" # seconds that one and the same trouble may last
: "${DEADLINE:=1500}"
OVERLAY=k8s/overlays/minikube
OPERATOR=kuberay/operator
CRDS=(rayclusters.ray.io rayjobs.ray.io rayservices.ray.io)

tools() {
  step "Tools"
  need minikube "see https://minikube.sigs.k8s.io/docs/start"
  need kubectl "see https://kubernetes.io/docs/tasks/tools"
  need docker "see https://docs.docker.com/engine/install"
  need git "install it by your system's packages: kubectl fetches the operator with it"
  need curl "install it by your system's packages"
  local minikube kubectl cpus bytes
  minikube=$(minikube version --short)
  kubectl=$(command kubectl version --client -o yaml | awk '$1 == "gitVersion:" { print $2 }')
  at_least 1.34 "${minikube#v}" ||
    fail "Minikube is $minikube, expected 1.34 or later" "see https://minikube.sigs.k8s.io/docs/start"
  at_least 1.29 "${kubectl#v}" ||
    fail "kubectl is $kubectl, expected 1.29 or later" "see https://kubernetes.io/docs/tasks/tools"
  docker info --format '{{.NCPU}} {{.MemTotal}}' >"$work/docker" 2>/dev/null ||
    fail "Docker does not answer" "start it, and let 'docker info' succeed as the user that you are"
  read -r cpus bytes <"$work/docker"
  ((cpus >= CPUS)) ||
    fail "Docker has $cpus CPUs, expected $CPUS or more" \
      "give it more (Docker Desktop: Settings, Resources), or take a larger machine"
  ((bytes / 1048576 >= MEMORY)) ||
    fail "Docker has $((bytes / 1048576)) MiB of memory, expected $MEMORY or more" \
      "give it more (Docker Desktop: Settings, Resources), or take a larger machine"
  say "Minikube $minikube, kubectl $kubectl, Docker with $cpus CPUs and $((bytes / 1048576)) MiB"
}

start() {
  step "Minikube"
  if minikube -p "$PROFILE" status >/dev/null 2>&1; then
    say "The profile $PROFILE runs already"
    return
  fi
  # Calico, because Minikube's own network does not enforce network policies; Docker inside, so that
  # images can be built where they run.
  minikube start -p "$PROFILE" --driver=docker --container-runtime=docker --cni=calico \
    --cpus="$CPUS" --memory="$MEMORY" ||
    fail "Minikube did not start" \
      "read 'minikube -p $PROFILE logs --problems'; to start over: make minikube-down PURGE=1"
}

images() {
  step "Images"
  minikube -p "$PROFILE" docker-env --shell bash >"$work/docker-env" ||
    fail "the Docker of Minikube cannot be reached" "minikube -p $PROFILE start, then make minikube-up"
  # shellcheck source=/dev/null
  (. "$work/docker-env" && make --no-print-directory images) ||
    fail "an image was not built" "mend what the build says above, then make minikube-up"
  minikube -p "$PROFILE" image ls >"$work/images"
  kubectl kustomize "$OVERLAY" >"$work/manifests"
  local image
  while read -r image; do
    grep -q "\(^\|/\)$image\$" "$work/images" ||
      fail "the image $image, which $OVERLAY asks for, is missing in Minikube" \
        "make manifests, which gives it the version in training/__init__.py; then make minikube-up"
  done < <(sed -n 's/^ *-* *image: *\(fraudray\/[^ ]*\).*/\1/p' "$work/manifests" | sort -u)
}

missing_crds() {
  local crd
  for crd in "${CRDS[@]}"; do
    kubectl get crd "$crd" >/dev/null 2>&1 || printf '%s ' "$crd"
  done
}

operator() {
  step "KubeRay operator"
  local wanted namespace image found="" missing
  local apply="kubectl --context $PROFILE apply --server-side --force-conflicts -k $OPERATOR"
  wanted=$(sed -n 's/.*?ref=v\([0-9.]*\).*/\1/p' "$OPERATOR/kustomization.yaml")
  kubectl get deployments --all-namespaces --field-selector metadata.name=kuberay-operator \
    -o jsonpath='{range .items[*]}{.metadata.namespace} {.spec.template.spec.containers[0].image}{"\n"}{end}' \
    >"$work/operators"
  while read -r namespace image; do
    [[ $namespace == ray-system ]] ||
      fail "a KubeRay operator ${image##*:} runs in the namespace $namespace; expected v$wanted in ray-system" \
        "kubectl --context $PROFILE -n $namespace delete deployment kuberay-operator, then make minikube-up"
    found=${image##*:}
  done <"$work/operators"
  missing=$(missing_crds)
  if [[ $found == "v$wanted" && -z $missing ]]; then
    say "KubeRay $found is there"
  else
    [[ -z $found || $found == "v$wanted" ]] || say "KubeRay is $found, expected v$wanted: it is replaced"
    [[ -z $found || -z $missing ]] || say "Missing CRDs: $missing"
    kubectl apply --server-side --force-conflicts -k "$OPERATOR" >"$work/log" 2>&1 || {
      cat "$work/log" >&2
      fail "the KubeRay operator could not be installed" "see that git reaches github.com, then: $apply"
    }
  fi
  kubectl wait --for=condition=Established --timeout=60s crd "${CRDS[@]}" >/dev/null ||
    fail "missing CRDs: $(missing_crds)" "$apply"
  kubectl -n ray-system rollout status deployment/kuberay-operator --timeout=300s ||
    fail "the KubeRay operator does not get ready" \
      "kubectl --context $PROFILE -n ray-system describe pod -l app.kubernetes.io/name=kuberay"
}

random() { head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n'; }
sha256() { if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi | cut -d ' ' -f 1; }

# secret NAMESPACE NAME KEY VALUE ...: made if it is not there. Values go through standard input: what
# stands in arguments, every user of the machine can read.
secret() {
  local namespace=$1 name=$2
  shift 2
  if kubectl -n "$namespace" get secret "$name" >/dev/null 2>&1; then return; fi
  {
    printf 'apiVersion: v1\nkind: Secret\nmetadata: {namespace: %s, name: %s}\nstringData:\n' \
      "$namespace" "$name"
    while (($#)); do
      printf "  %s: '%s'\n" "$1" "$2"
      shift 2
    done
  } | kubectl create -f - >/dev/null
  say "Made the secret $namespace/$name"
}

# key NAME SECRET KEY: an entry of the file of keys, for the key that a secret holds.
key() {
  printf '{"name": "%s", "role": "caller", "sha256": "%s", "created": "%s"}' \
    "$1" "$(kept fraudray "$2" "$3" | sha256)" "$(date -u +%Y-%m-%dT%H:%M:%S+00:00)"
}

secrets() {
  step "Secrets"
  local namespace name
  for namespace in fraudray monitoring; do
    kubectl get namespace "$namespace" >/dev/null 2>&1 || kubectl create namespace "$namespace"
  done
  secret fraudray postgres password "$(random)" mlflow-password "$(random)" decisions-password "$(random)"
  secret fraudray redis password "$(random)"
  secret fraudray ray-token auth_token "$(random)"
  secret fraudray ui user fraudray password "$(random)" graph-key "fraudray_$(random)"
  secret fraudray smoke-key key "fraudray_$(random)"
  secret fraudray graph-keys keys.json "[$(key page ui graph-key), $(key smoke smoke-key key)]"
  secret monitoring grafana admin-user admin admin-password "$(random)"
  # What the manifests ask for, by namespace; kustomize writes one key a line, sorted.
  awk '/^---/ { space = "" } /^  namespace: / { space = $2 }
       / optional: true$/ { optional = NR }
       / secretName: / && optional != NR - 1 { print space, $NF }
       / (secretKeyRef|secretRef):$/ { named = 1 }
       named && / name: / { print space, $NF; named = 0 }' "$work/manifests" | sort -u >"$work/wanted"
  while read -r namespace name; do
    kubectl -n "$namespace" get secret "$name" >/dev/null 2>&1 ||
      fail "the secret $namespace/$name, which $OVERLAY asks for, is missing" \
        "kubectl --context $PROFILE -n $namespace create secret generic $name --from-file=KEY=FILE"
  done <"$work/wanted"
  say "All that $OVERLAY asks for are there"
}

# make_room WHAT PATH: for it in another version. A job cannot be changed, and a second Ray cluster beside
# the first would find no place, so what has another image than the manifests goes first.
make_room() {
  local image
  image=$(kubectl -n fraudray get "$1" --ignore-not-found -o jsonpath="{$2.containers[0].image}")
  [[ -z $image ]] || grep -q "image: $image\$" "$work/manifests" || kubectl -n fraudray delete "$1"
}

apply() {
  step "Manifests"
  make_room job/first-model .spec.template.spec
  make_room rayservice/fraudray .spec.rayClusterConfig.headGroupSpec.template.spec
  kubectl apply --server-side --force-conflicts -f "$work/manifests" >"$work/log" 2>&1 || {
    cat "$work/log" >&2
    fail "the cluster refuses the manifests, as told above" \
      "where a field of ray.io is unknown, its CRDs are too old: kubectl --context $PROFILE apply --server-side --force-conflicts -k $OPERATOR"
  }
  say "$(grep -c serverside-applied "$work/log") objects are as the files say"
}

# A line WHERE|REASON|IMAGE|MESSAGE for every pod without a place and every container that waits.
# shellcheck disable=SC2016
WAITING='{{range .items}}{{$pod := printf "%s/%s" .metadata.namespace .metadata.name}}
{{- range .status.conditions}}{{if eq (printf "%s%s" .type .status) "PodScheduledFalse"}}
{{- printf "%s|%s||%s\n" $pod .reason .message}}{{end}}{{end}}
{{- range .status.initContainerStatuses}}{{$image := .image}}{{with .state.waiting}}
{{- printf "%s|%s|%s|%v\n" $pod .reason $image .message}}{{end}}{{end}}
{{- range .status.containerStatuses}}{{$image := .image}}{{with .state.waiting}}
{{- printf "%s|%s|%s|%v\n" $pod .reason $image .message}}{{end}}{{end}}{{end}}'

# trouble: what keeps volumes, pods and the first model from being there, as one line WHAT|FIX.
trouble() {
  local where reason image message ours="kubectl --context $PROFILE"
  while IFS='|' read -r where reason; do
    [[ $reason == Bound ]] && continue
    echo "the volume claim $where is not bound but $reason|minikube -p $PROFILE addons enable storage-provisioner, and read: $ours -n ${where%/*} describe pvc ${where#*/}"
    return
  done < <(kubectl get pvc --all-namespaces \
    -o jsonpath='{range .items[*]}{.metadata.namespace}/{.metadata.name}|{.status.phase}{"\n"}{end}')
  while IFS='|' read -r where reason image message; do
    case $reason in
      ErrImage* | ImagePullBackOff | InvalidImageName)
        case $image in
          *fraudray/*) echo "the image $image of the pod $where is missing in Minikube|make minikube-up, which builds it there" ;;
          *) echo "the image $image of the pod $where cannot be pulled|minikube -p $PROFILE ssh -- docker pull $image" ;;
        esac
        return
        ;;
      CreateContainerConfigError)
        echo "the pod $where lacks what it is set up with: $message|$ours -n ${where%/*} describe pod ${where#*/}"
        return
        ;;
      Unschedulable)
        echo "the pod $where finds no place: $message|make minikube-down PURGE=1, then make minikube-up CPUS=6 MEMORY=12288"
        return
        ;;
      CrashLoopBackOff)
        echo "the pod $where ends again and again|read: $ours -n ${where%/*} logs ${where#*/} --all-containers --previous"
        return
        ;;
    esac
  done < <(kubectl get pods --all-namespaces -o go-template="$WAITING")
  if [[ $(first_model Failed) == True ]]; then
    echo "the first model was not made|read '$ours -n fraudray logs job/first-model'; $ours -n fraudray delete job first-model, then make minikube-up"
  fi
}

# first_model CONDITION: whether the job that makes it is Complete or Failed; it may be gone already.
first_model() {
  kubectl -n fraudray get job first-model --ignore-not-found \
    -o jsonpath="{.status.conditions[?(@.type=='$1')].status}"
}

# The names of pods that are not ready, of those that should be.
# shellcheck disable=SC2016
UNREADY='{{range .items}}{{$ready := false}}{{range .status.conditions}}
{{- if eq (printf "%s%s" .type .status) "ReadyTrue"}}{{$ready = true}}{{end}}{{end}}
{{- if not $ready}}{{.metadata.name}} {{end}}{{end}}'

# awaited: what is not there yet, in one line; nothing once all is. What cannot be asked is not there.
awaited() {
  local pods job graph
  pods=$(kubectl get pods --all-namespaces -o go-template="$UNREADY" \
    --field-selector 'status.phase!=Succeeded,status.phase!=Failed') || pods="the cluster does not answer "
  [[ -z $pods ]] || printf '%s' "$pods"
  graph=$(kubectl -n fraudray get rayservice fraudray \
    -o jsonpath='{.status.conditions[?(@.type=="Ready")].status}') || graph=""
  [[ $graph == True ]] || printf 'the-graph '
  job=$(kubectl -n fraudray get job first-model --ignore-not-found -o name) || job=unknown
  [[ -z $job || $(first_model Complete) == True ]] || printf 'the-first-model '
}

wait_until_ready() {
  step "Waiting: pods start, then the first model is made"
  local began=$SECONDS since=$SECONDS told="" before="" missing now
  while true; do
    missing=$(awaited)
    [[ -n $missing ]] || break
    now=$(trouble)
    [[ $now == "$before" ]] || since=$SECONDS
    before=$now
    if [[ -n $now ]] && ((SECONDS - since >= PATIENCE)); then fail "${now%%|*}" "${now#*|}"; fi
    ((SECONDS - began < DEADLINE)) ||
      fail "not ready after $((DEADLINE / 60)) minutes: $missing" \
        "make minikube-up waits on; read: kubectl --context $PROFILE get pods --all-namespaces"
    [[ $missing == "$told" ]] || say "  $((SECONDS - began)) s, awaited: $missing${now:+ (${now%%|*})}"
    told=$missing
    sleep "$POLL"
  done
  say "All is ready"
}

urls() {
  step "Open"
  local ip namespace service what
  ip=$(minikube -p "$PROFILE" ip)
  while read -r namespace service what; do
    printf '  %-11s http://%s:%s   or: minikube -p %s service -n %s %s\n' "$what" "$ip" \
      "$(kubectl -n "$namespace" get service "$service" -o jsonpath='{.spec.ports[0].nodePort}')" \
      "$PROFILE" "$namespace" "$service"
  done <<'LINES'
fraudray fraudray-serve-svc endpoint
fraudray ui page
monitoring grafana Grafana
monitoring prometheus Prometheus
LINES
  cat <<LINES
  MLflow      http://127.0.0.1:5000 after: kubectl --context $PROFILE -n fraudray port-forward service/mlflow 5000
The addresses open on Linux; elsewhere, use the commands. Names and passwords of page and Grafana:
  kubectl --context $PROFILE -n fraudray get secret ui -o go-template='{{.data.user|base64decode}} {{.data.password|base64decode}}{{"\n"}}'
  kubectl --context $PROFILE -n monitoring get secret grafana -o go-template='{{index .data "admin-user"|base64decode}} {{index .data "admin-password"|base64decode}}{{"\n"}}'
LINES
}

tools
start
images
operator
secrets
apply
wait_until_ready
step "A payment"
if ! scripts/minikube-smoke.sh; then
  failed=yes # it has said why
  exit 1
fi
urls
