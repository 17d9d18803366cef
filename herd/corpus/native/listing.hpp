// Program text that a page lays out without <pre>: a table row or a box for every line.
#pragma once
#include "outline.hpp"

namespace herd {

// Whether the table at node i is a listing: numbers in one column, the lines in another.
bool is_listed_by_rows(const Tree& tree, const std::vector<Part>& parts, int32_t i);

// Whether node i, which its author named as program text, holds a box for every line.
bool is_listed_by_boxes(const Tree& tree, const std::vector<Part>& parts, int32_t i);

// The lines of such a listing, or of a <pre> with a table in it, without their numbers.
std::string listed_text(const Tree& tree, const std::vector<Part>& parts, int32_t i);

}  // namespace herd
