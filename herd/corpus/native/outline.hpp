// Where a page's content lies: which parts are dropped and which element holds the rest.
#pragma once
#include <cstdint>
#include <vector>

#include "extract.hpp"
#include "hints.hpp"

namespace herd {

struct Part {
  uint16_t hints = 0;
  bool dropped = false;
  bool layout = false;     // a table, row or cell that only lays out a page
  int32_t letters = 0;     // non-space characters inside
  int32_t linked = 0;      // of those, inside links
  float mass = 0;          // how much of it reads like running text
};

struct Outline {
  std::vector<Part> parts;  // one a node
  int32_t main = 0;
  std::vector<int32_t> programs;  // every <pre> and every listing, in order
  std::vector<int32_t> listings;  // of those, the ones that are no <pre>
  std::vector<int32_t> leads;  // elements before it that open its text
};

// How much is dropped for the name its author gave it: kNames all that is not content by name, kComments only
// footers and what readers wrote, kNothing no more than what is never shown as text.
enum Strictness { kNothing, kComments, kNames };

Outline outline(const Tree& tree, const ExtractOptions& options, Strictness strictness);

}  // namespace herd
