"""Chat formats as Jinja templates: Llama 3's, which models made here have, and one for imported models that bring
none."""

# One message: <|start_header_id|>role<|end_header_id|>, a blank line, the content, <|eot_id|>. A call of a tool ends
# with <|eom_id|> instead: the turn goes on after the tool's answer. Built-in tools are named to the system; `tools` are
# defined in the first user message and called in JSON. The tool's role is written `ipython`.
# Source: llama-models, `prompt_format.md`. `chat.py` writes the same, by ids.
CHAT_TEMPLATE = """\
{{- bos_token }}
{%- set told = namespace(tools=tools) %}
{%- if builtin_tools or tools %}
{%- set opening = "Environment: ipython" + ("\\nTools: " + builtin_tools | join(", ") if builtin_tools else "") %}
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
{%- if tools and call.name not in (builtin_tools or []) %}
{{- '<|python_tag|>{"type": "function", "name": ' + call.name | tojson + ', "parameters": ' }}
{{- call.arguments | tojson + "}<|eom_id|>" }}
{%- else %}
{{- "<|python_tag|>" + call.name + ".call(" }}
{%- for name, value in call.arguments.items() %}
{{- name + '="' + value + '"' }}{{ ", " if not loop.last }}
{%- endfor %}
{{- ")<|eom_id|>" }}
{%- endif %}
{%- else %}
{%- if told.tools and message["role"] == "user" %}
{{- "Given the following functions, please respond with a JSON for a function call with its proper arguments " }}
{{- "that best answers the given prompt.\\n\\nRespond in the format " }}
{{- '{"type": "function", "name": function name, "parameters": dictionary of argument name and its value}. ' }}
{{- "Do not use variables.\\n\\n" }}
{%- for tool in told.tools %}
{{- tool | tojson(indent=4) + "\\n\\n" }}
{%- endfor %}
{%- set told.tools = none %}
{%- endif %}
{{- message["content"] + "<|eot_id|>" }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
{{- "<|start_header_id|>assistant<|end_header_id|>\\n\\n" }}
{%- endif %}
"""

# Source: OpenAI's ChatML; as in the models of Qwen and SmolLM2, without a system message of their own.
CHATML = """\
{%- for message in messages %}
{{- "<|im_start|>" + message["role"] + "\\n" + message["content"] + "<|im_end|>\\n" }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- "<|im_start|>assistant\\n" }}
{%- endif %}
"""

TEMPLATES = {"llama3": CHAT_TEMPLATE, "chatml": CHATML}
