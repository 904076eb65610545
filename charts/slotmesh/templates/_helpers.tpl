{{/* Name of the application, at most 63 characters. */}}
{{- define "slotmesh.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* What names of objects begin with: the release's name, with the chart's where it does not hold it. */}}
{{- define "slotmesh.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 54 | trimSuffix "-" -}}
{{- else if contains (include "slotmesh.name" .) .Release.Name -}}
{{- .Release.Name | trunc 54 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "slotmesh.name" .) | trunc 54 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "slotmesh.operator" -}}
{{ include "slotmesh.fullname" . }}-operator
{{- end -}}

{{- define "slotmesh.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "slotmesh.operator" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name must name an existing ServiceAccount when serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* What the operator's pods are found by. Never changes: a Deployment's selector cannot. */}}
{{- define "slotmesh.selector" -}}
app.kubernetes.io/name: {{ include "slotmesh.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{/*
Name, namespace, labels and annotations of an object, from a dict of root, name and, where there are any,
namespace, labels and annotations. What the chart itself says wins over common values.
*/}}
{{- define "slotmesh.metadata" -}}
{{- $own := dict
  "app.kubernetes.io/name" (include "slotmesh.name" .root)
  "app.kubernetes.io/instance" .root.Release.Name
  "app.kubernetes.io/component" (default "operator" .component)
  "app.kubernetes.io/part-of" "slotmesh"
  "app.kubernetes.io/version" .root.Chart.AppVersion
  "app.kubernetes.io/managed-by" .root.Release.Service
  "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_") -}}
{{- $annotations := mergeOverwrite (dict) .root.Values.commonAnnotations (default (dict) .annotations) -}}
name: {{ .name }}
{{- with .namespace }}
namespace: {{ . }}
{{- end }}
labels: {{- toYaml (mergeOverwrite (dict) .root.Values.commonLabels (default (dict) .labels) $own) | nindent 2 }}
{{- with $annotations }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Whole image reference, from a dict of image and root. */}}
{{- define "slotmesh.image" -}}
{{- with default .root.Values.global.imageRegistry .image.registry -}}{{ . }}/{{- end -}}
{{- .image.repository -}}
{{- if .image.digest -}}@{{ .image.digest }}{{- else -}}:{{ default .root.Chart.AppVersion .image.tag }}{{- end -}}
{{- end -}}

{{/* Constraints with the selector of our pods where none is given. */}}
{{- define "slotmesh.spread" -}}
{{- $selector := dict "labelSelector" (dict "matchLabels" (include "slotmesh.selector" . | fromYaml)) -}}
{{- range .Values.topologySpreadConstraints }}
- {{- toYaml (hasKey . "labelSelector" | ternary . (mergeOverwrite (dict) $selector .)) | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Where `helm test` plays. */}}
{{- define "slotmesh.testNamespace" -}}
{{- $own := .Release.Namespace -}}
{{- if and .Values.watchNamespaces (not (has $own .Values.watchNamespaces)) -}}
{{- $own = first .Values.watchNamespaces -}}
{{- end -}}
{{- default $own .Values.test.namespace -}}
{{- end -}}
