(** Sums, batches and derivatives. Samples, features, positions and classes are counted from 0;
    a function is read only at the indices named by its sizes: [x i d] for [i < n], [d < D]. *)
From Coq Require Import Reals Arith.
From Coquelicot Require Import Coquelicot.
Open Scope R_scope.

(** * Sums and means *)

Fixpoint fsum (n : nat) (f : nat -> R) : R :=
  match n with
  | O => 0
  | S m => fsum m f + f m
  end.

Definition mean (n : nat) (f : nat -> R) : R := fsum n f / INR n.

Notation "\sum_ ( i < n ) F" := (fsum n (fun i => F))
  (at level 41, i name, n at level 50, F at level 41).
Notation "\mean_ ( i < n ) F" := (mean n (fun i => F))
  (at level 41, i name, n at level 50, F at level 41).

(** Kronecker's delta. *)
Definition delta (i j : nat) : R := if Nat.eqb i j then 1 else 0.

(** * Batches and their derivatives *)

Definition vector := nat -> R.
Definition matrix := nat -> nat -> R.

(** Row [i]: a sample; column [d]: a feature. *)
Definition batch := nat -> nat -> R.

(** [x] with its entry [(j, k)] replaced by [t]. *)
Definition upd (x : batch) (j k : nat) (t : R) : batch :=
  fun i d => if (Nat.eqb i j && Nat.eqb d k)%bool then t else x i d.

(** [F] has at [x] the partial derivative [v] in the entry [(j, k)]. *)
Definition is_partial (F : batch -> R) (x : batch) (j k : nat) (v : R) : Prop :=
  is_derive (fun t => F (upd x j k t)) (x j k) v.

(** Frechet differentiability of a loss of the whole batch at [Y]; [G i d] is its derivative in
    [Y i d]. Any loss: samples may differ in theirs, and may be coupled. *)
Definition differentiable (n D : nat) (L : batch -> R) (Y G : batch) : Prop :=
  forall e, 0 < e -> exists r, 0 < r /\
    forall Z : batch,
      (forall i d, (i < n)%nat -> (d < D)%nat -> Rabs (Z i d - Y i d) < r) ->
      Rabs (L Z - L Y - \sum_(i < n) \sum_(d < D) G i d * (Z i d - Y i d))
      <= e * \sum_(i < n) \sum_(d < D) Rabs (Z i d - Y i d).
