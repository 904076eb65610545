{{/* Rights of the operator in every namespace that it serves. docs/operations.md says what for. */}}
{{- define "slotmesh.rights" -}}
- apiGroups: [slotmesh.dev]
  resources: [gossipclusters]
  verbs: [get, list, watch]
- apiGroups: [slotmesh.dev]
  resources: [gossipclusters/status]
  verbs: [get, update]
- apiGroups: [slotmesh.dev]
  resources: [gossipclusters/finalizers]
  verbs: [update]
- apiGroups: [slotmesh.dev]
  resources: [gossipcells]
  verbs: [get, list, watch, create, update, delete]
- apiGroups: [slotmesh.dev]
  resources: [gossipcells/status]
  verbs: [update]
- apiGroups: [apps]
  resources: [daemonsets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [services, serviceaccounts, configmaps]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}

{{/* Binds a role to the operator, from a dict of root, name and, for a Role, namespace. */}}
{{- define "slotmesh.binding" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ if .namespace }}RoleBinding{{ else }}ClusterRoleBinding{{ end }}
metadata: {{- include "slotmesh.metadata" . | nindent 2 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ if .namespace }}Role{{ else }}ClusterRole{{ end }}
  name: {{ .name }}
subjects:
  - kind: ServiceAccount
    name: {{ include "slotmesh.serviceAccount" .root }}
    namespace: {{ .root.Release.Namespace }}
{{- end -}}
