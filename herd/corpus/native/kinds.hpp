// Program text and formulas inside documents, told by their looks.
#pragma once
#include "text.hpp"

namespace herd {

// Whether one line looks like program text.
bool is_code_line(string_view line);

// TeX formulas: between dollars, \( \) or \[ \], or in an environment for them.
int32_t count_formulas(string_view text);

// Mathematical operators, letters and indices of Unicode.
int32_t count_mathematical_signs(string_view text);

}  // namespace herd
