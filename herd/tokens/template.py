"""The chat format as a Jinja template, for tools that read Hugging Face folders."""

# One message: <|start_header_id|>role<|end_header_id|>, a blank line, the content, <|eot_id|>. A call of a
# built-in tool ends with <|eom_id|> instead: the turn goes on after the tool's answer. The tool's role is
# written `ipython`. Source: llama-models, `prompt_format.md`. `chat.py` writes the same, by ids.
CHAT_TEMPLATE = """\
{{- bos_token }}
{%- if builtin_tools %}
{%- set opening = "Environment: ipython\\nTools: " + builtin_tools | join(", ") %}
{%- if messages[0]["role"] == "system" %}
{%- set opening = opening + "\\n\\n" + messages[0]["content"] %}
{%- set messages = messages[1:] %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" + opening + "<|eot_id|>" }}
{%- endif %}
{%- for message in messages %}
{%- set role = "ipython" if message["role"] == "tool" else message["role"] %}
{{- "<|start_header_id|>" + role + "<|end_header_id|>\\n\\n" }}
{%- if message.tool_calls %}
{%- set call = message.tool_calls[0].function %}
{{- "<|python_tag|>" + call.name + ".call(" }}
{%- for name, value in call.arguments.items() %}
{{- name + '="' + value + '"' }}{{ ", " if not loop.last }}
{%- endfor %}
{{- ")<|eom_id|>" }}
{%- else %}
{{- message["content"] + "<|eot_id|>" }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
{{- "<|start_header_id|>assistant<|end_header_id|>\\n\\n" }}
{%- endif %}
"""
