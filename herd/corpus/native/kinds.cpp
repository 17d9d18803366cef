#include "kinds.hpp"

#include <algorithm>
#include <cctype>

namespace herd {
namespace {

// Each of these at the start of a line is nearly enough to tell code; the weak ones are words of prose too.
const string_view kStarts[] = {"#include", "#define", "#ifdef", "#endif", ">>> ", "$ ", "// ", "/*", "*/", "<?php",
                               "def ",     "elif ",   "fn ",    "func ",  "pub ", "impl ", "</", "<!--", "@property",
                               "std::",    "sudo ",   "#!/"};
const string_view kWeakStarts[] = {"import ", "from ",  "class ",  "return", "public ", "private ", "static ", "if ",
                                   "for ",    "while ", "else",    "try:",   "except",  "function ", "const ", "let ",
                                   "var ",    "int ",   "void ",   "struct ", "end",    "package ", "# ",     "* ",
                                   "print",   "case ",  "switch ", "type ",  "use ",    "module ",  "SELECT ", "... "};
const string_view kOperators[] = {"==", "!=", "+=", "-=", "->", "=>", "::", "&&", "||", ":=", "();", "/>", "</", "<<"};
const string_view kEnvironments[] = {"equation", "align", "gather", "eqnarray", "multline", "math", "displaymath",
                                     "array", "cases"};
constexpr size_t kLongestFormula = 600;

bool starts_with(string_view s, string_view what) { return s.substr(0, what.size()) == what; }

bool is_name(char c) { return is_alpha(c) || is_digit(c) || c == '_'; }

// A formula between dollars: no prices, no variables of a shell.
bool is_formula(string_view inside) {
  if (inside.empty() || is_space(inside.front()) || is_space(inside.back())) return false;
  if (inside.find("\n\n") != inside.npos) return false;
  if (inside.size() <= 2) return is_alpha(inside.front());
  return inside.find_first_of("\\^_=") != inside.npos;
}

}  // namespace

bool is_code_line(string_view line) {
  size_t indent = 0;
  while (indent < line.size() && is_space(line[indent])) ++indent;
  line.remove_prefix(indent);
  while (!line.empty() && is_space(line.back())) line.remove_suffix(1);
  if (line.empty()) return false;
  char last = line.back();
  if (line.find_first_not_of("{}()[];,") == line.npos) return true;
  int points = indent >= 2;
  if (last == ';' || last == '{' || last == '}') points += 2;
  if (line.size() > 2 && (line.substr(line.size() - 2) == "):" || line.substr(line.size() - 2) == "),")) points += 2;
  for (string_view one : kStarts)
    if (starts_with(line, one)) points += 2;
  for (string_view one : kWeakStarts)
    if (starts_with(line, one)) points += 1;
  for (string_view one : kOperators)
    if (line.find(one) != line.npos) points += 1;
  bool call = false, assigned = false, joined = false, dotted = false;
  for (size_t i = 1; i + 1 < line.size(); ++i) {
    char before = line[i - 1], c = line[i], after = line[i + 1];
    call |= c == '(' && is_name(before) && (is_name(after) || after == ')' || after == '"' || after == '\'');
    assigned |= c == '=' && before != '=' && after != '=';
    joined |= c == '_' && is_name(before) && is_name(after);
    dotted |= c == '.' && is_alpha(before) && is_alpha(after) && lower(after) == after;
  }
  points += call + assigned + joined + dotted;
  // A long line of plain words is a sentence about code, however many signs it holds.
  size_t words = 0, plain = 0;
  for (size_t i = 0; i < line.size();) {
    while (i < line.size() && is_space(line[i])) ++i;
    size_t from = i;
    while (i < line.size() && !is_space(line[i])) ++i;
    words += i > from;
    plain += i > from && std::all_of(line.begin() + long(from), line.begin() + long(i), is_alpha);
  }
  int needed = words >= 6 && 10 * plain >= 7 * words ? 4 : 2;
  return points >= needed;
}

int32_t count_formulas(string_view text) {
  int32_t found = 0;
  for (size_t i = text.find_first_of("$\\"); i < text.size(); i = text.find_first_of("$\\", i)) {
    string_view rest = text.substr(i, kLongestFormula);
    size_t end = rest.npos;
    if (starts_with(rest, "$$")) {
      end = rest.find("$$", 2);
      if (end != rest.npos) end += 2;
    } else if (rest[0] == '$') {
      end = rest.find('$', 1);
      if (end != rest.npos) end = is_formula(rest.substr(1, end - 1)) ? end + 1 : rest.npos;
    } else if (starts_with(rest, "\\(") || starts_with(rest, "\\[")) {
      end = rest.find(rest[1] == '(' ? "\\)" : "\\]", 2);
      if (end != rest.npos) end += 2;
    } else if (starts_with(rest, "\\begin{")) {
      string_view name = rest.substr(7);
      for (string_view one : kEnvironments)
        if (starts_with(name, one)) end = 7 + one.size();
    }
    found += end != rest.npos;
    i += end != rest.npos ? end : 1;
  }
  return found;
}

int32_t count_mathematical_signs(string_view text) {
  int32_t found = 0;
  for (size_t i = 0; i < text.size();) {
    if (uint8_t(text[i]) < 0x80) {
      ++i;
      continue;
    }
    Rune r = rune_at(text, i);
    i += size_t(r.bytes);
    uint32_t c = r.code;
    found += c == 0xB1 || c == 0xD7 || c == 0xF7 || c == 0xB2 || c == 0xB3 || c == 0xB9 || (c >= 0x2070 && c <= 0x209F) ||
             (c >= 0x2200 && c <= 0x22FF) || (c >= 0x2A00 && c <= 0x2AFF) || (c >= 0x1D400 && c <= 0x1D7FF);
  }
  return found;
}

}  // namespace herd
