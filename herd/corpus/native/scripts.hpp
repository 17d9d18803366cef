// Raised and lowered text in a line: 10^6, x_i, H2O, the 1st, a note[1].
#pragma once
#include <string>

#include "html.hpp"

namespace herd {

// What stands for the <sup> or <sub> at node i after the text `before`; empty where its content follows as it is.
std::string script_text(const Tree& tree, int32_t i, string_view before);

// A <math> that brings no TeX along, in a line: (a)/(b), x^2, sqrt(x).
std::string math_text(const Tree& tree, int32_t i);

}  // namespace herd
