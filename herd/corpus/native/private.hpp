// What could lead to a person or open a door: found and masked.
#pragma once
#include <string>

#include "words.hpp"

namespace herd {

enum Private { kEmail, kAddress4, kPhone, kKey, kPrivateCount };

// What each kind is replaced by; a kind whose text is null stays.
struct Masks {
  const char* by[kPrivateCount];
};

struct Secret {
  size_t begin, end;
  Private kind;
};

// Secrets in their order, none inside another.
void find_private(string_view text, std::vector<Secret>& out);

// counts: kPrivateCount numbers a document.
void mask_private(const Texts& texts, const Masks& masks, Column& out, int32_t* counts);

}  // namespace herd
