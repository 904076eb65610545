{{/* Name of the chart, at most 63 characters. */}}
{{- define "slotmesh.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Name of the release's objects: the release's name, with the chart's where it does not hold it. */}}
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
{{- default (include "slotmesh.operator" .) .Values.serviceAccount.name -}}
{{- end -}}

{{- define "slotmesh.selector" -}}
app.kubernetes.io/name: {{ include "slotmesh.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "slotmesh.labels" -}}
{{ include "slotmesh.selector" . }}
app.kubernetes.io/part-of: slotmesh
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* Whole image reference of {registry, repository, tag}; takes a dict of image and root. */}}
{{- define "slotmesh.image" -}}
{{- $reference := printf "%s:%s" .image.repository (default .root.Chart.AppVersion .image.tag) -}}
{{- if .image.registry -}}{{ .image.registry }}/{{ end -}}{{ $reference }}
{{- end -}}
