#pragma once

namespace kaon {

// A doubly linked list through its elements: no allocation, O(1) removal. An element derives from ListNode<T, Tag>, is in
// at most one list for each tag, and leaves it when it is destroyed. The list does not own its elements.
template <typename T, typename Tag = void>
class ListNode {
 public:
  ListNode() = default;
  ListNode(const ListNode&) = delete;
  ListNode& operator=(const ListNode&) = delete;
  ~ListNode() { unlink(); }

  bool linked() const { return next_ != nullptr; }
  void unlink() {
    if (!next_) return;
    next_->previous_ = previous_;
    previous_->next_ = next_;
    next_ = previous_ = nullptr;
  }

 private:
  template <typename, typename>
  friend class List;
  ListNode* next_ = nullptr;
  ListNode* previous_ = nullptr;
};

template <typename T, typename Tag = void>
class List {
  using Node = ListNode<T, Tag>;

 public:
  List() { head_.next_ = head_.previous_ = &head_; }
  ~List() {
    while (pop_front()) {}
    head_.next_ = head_.previous_ = nullptr;
  }
  List(const List&) = delete;
  List& operator=(const List&) = delete;

  bool empty() const { return head_.next_ == &head_; }
  T* front() { return empty() ? nullptr : static_cast<T*>(head_.next_); }
  void push_back(T& element) { insert_before(head_, element); }
  void push_front(T& element) { insert_before(*head_.next_, element); }
  T* pop_front() {
    T* element = front();
    if (element) static_cast<Node*>(element)->unlink();
    return element;
  }
  // Calls f(T&) for each; f may unlink the element it is given, and no other.
  template <typename F>
  void for_each(F&& f) {
    for (Node *node = head_.next_, *next; node != &head_; node = next) {
      next = node->next_;
      f(*static_cast<T*>(node));
    }
  }

 private:
  void insert_before(Node& place, T& element) {
    Node& node = element;
    node.unlink();
    node.next_ = &place;
    node.previous_ = place.previous_;
    place.previous_->next_ = &node;
    place.previous_ = &node;
  }
  Node head_;
};

}  // namespace kaon
