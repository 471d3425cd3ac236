{{- define "harper-operator.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* The release's name alone where it already says what the chart is; 50 leave room for a suffix. */}}
{{- define "harper-operator.fullname" -}}
{{- $name := include "harper-operator.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Never holds a version: a selector cannot change. The component keeps the pod of `helm test` out. */}}
{{- define "harper-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "harper-operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "harper-operator.labels" -}}
{{ include "harper-operator.selectorLabels" . }}
app.kubernetes.io/part-of: harper
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "harper-operator.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (ternary (include "harper-operator.fullname" .) "default" .Values.serviceAccount.create) -}}
{{- end -}}

{{/* A reference from {image: {repository, tag, digest}, default: TAG}. */}}
{{- define "harper-operator.image" -}}
{{- if .image.digest -}}
{{- printf "%s@%s" .image.repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" .image.repository (.image.tag | default .default) -}}
{{- end -}}
{{- end -}}

{{/* What every container of the chart may do: nothing but run. */}}
{{- define "harper-operator.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "harper-operator.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end -}}
